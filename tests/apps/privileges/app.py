"""Responds with its user and groups, now and at import."""
import json
import os
import time


def facts():
    umask = os.umask(0)
    os.umask(umask)
    return {"uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(), "umask": umask}


AT_IMPORT = facts()
BORN = time.time_ns()


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"now": facts(), "at_import": AT_IMPORT, "born": BORN}).encode()]
