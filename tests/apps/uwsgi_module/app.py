"""Uses the module uwsgi."""
import json
import os

import uwsgi

forked = []


def after_fork():
    forked.append(uwsgi.worker_id())


uwsgi.post_fork_hook = after_fork


def at_exit():
    with open("exited", "a") as file:
        file.write("%d\n" % uwsgi.worker_id())


uwsgi.atexit = at_exit
AT_IMPORT = uwsgi.worker_id()


def facts():
    return {
        "worker_id": uwsgi.worker_id(),
        "mule_id": uwsgi.mule_id(),
        "at_import": AT_IMPORT,
        "masterpid": uwsgi.masterpid(),
        "parent": os.getppid(),
        "numproc": uwsgi.numproc,
        "cores": uwsgi.cores,
        "buffer_size": uwsgi.buffer_size,
        "version": type(uwsgi.version).__name__,
        "hostname": type(uwsgi.hostname).__name__,
        "opt": {key: repr(value) for key, value in uwsgi.opt.items()},
        "forked": forked,
        "total": uwsgi.total_requests(),
        "request": uwsgi.request_id(),
    }


def application(environ, start_response):
    action = environ["PATH_INFO"]
    if action == "/reload":
        uwsgi.reload()
    if action == "/stop":
        uwsgi.stop()
    if action == "/log":
        uwsgi.log("a line of the application's own")
    answer = json.dumps(facts()).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer]
