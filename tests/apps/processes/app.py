"""Responds with facts about its process and threads, and holds requests until a file exists."""
import os
import random
import signal
import subprocess
import threading
import time

GENERATION = "1"
local = threading.local()


def hold(name):
    """Records the request in the file `held`, and waits until the file `name` exists."""
    with open("held", "a") as held:
        held.write("%s %d\n" % (name, os.getpid()))
    while not os.path.exists(name):
        time.sleep(0.005)
    return "held by generation " + GENERATION


def kept(_):
    local.count = getattr(local, "count", 0) + 1
    return "%d" % local.count


def with_signal(_):
    signal.signal(signal.SIGUSR1, lambda *_: None)
    return "%s" % (threading.current_thread() is threading.main_thread())


def child(_):
    return subprocess.run(["sh", "-c", "echo from a child; exit 7"], stdout=subprocess.PIPE).stdout.decode()


def fork(_):
    pid = os.fork()
    if not pid:
        os._exit(7)
    return "%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


PATHS = {
    "/pid": lambda _: "%d" % os.getpid(),
    "/parent": lambda _: "%d" % os.getppid(),
    "/random": lambda _: "%d %r" % (os.getpid(), random.random()),
    "/hold": hold,
    "/kept": kept,
    "/thread": lambda _: "%s %d" % (threading.current_thread().name, threading.get_ident()),
    "/signal": with_signal,
    "/child": child,
    "/fork": fork,
    "/generation": lambda _: GENERATION,
    "/sigmask": lambda _: repr(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))),
}


def application(environ, start_response):
    answer = PATHS[environ["PATH_INFO"]](environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]


# the last statement of the import
with open("loads", "a") as loads:
    loads.write("x")
