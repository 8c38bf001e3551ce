"""Records which options of uwsgi.opt a library reads. The first `import` of the server, before the library."""

import json
import logging

import uwsgi

logging.basicConfig(level=logging.WARNING)
READ = set()


class Options(dict):
    def get(self, key, default=None):
        READ.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        READ.add(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        READ.add(key)
        return super().__contains__(key)


uwsgi.opt = Options(uwsgi.opt)


def respond(start_response, **facts):
    start_response("200 OK", [("Content-Type", "application/json")])
    facts.update(read=sorted(READ), worker=uwsgi.worker_id())
    return [json.dumps(facts).encode()]
