"""Keeps objects of a request and uses them in later ones."""
import os
import threading
import time

PLAIN = [("Content-Type", "text/plain")]
kept = {}


def attempt(call, *arguments):
    try:
        return repr(call(*arguments))
    except BaseException as error:
        return repr(error)


def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.005)


def keep(environ, start):
    kept["write"] = start("200 OK", PLAIN)
    kept["start"] = start
    kept["environ"] = environ
    kept["input"] = environ["wsgi.input"]
    return [b"kept ", kept["input"].read(3)]


def use_before_start(environ, start):
    errors = [attempt(kept["start"], "302 Found", [("X-Leak", "1")]), attempt(kept["write"], b"LEAK")]
    start("200 OK", PLAIN)
    return ["\n".join(errors).encode()]


def use_in_generator(environ, start):
    start("200 OK", PLAIN)
    yield b"begun\n"
    errors = [attempt(kept["write"], b"LEAK"), attempt(kept["start"], "302 Found", [], (None, ValueError("LEAK"), None))]
    yield "\n".join(errors).encode()


def use_input(environ, start):
    kept["environ"]["PATH_INFO"] = "/changed"
    kept["environ"]["X-LEAK"] = "1"
    rest = kept["input"].read()
    own = environ["wsgi.input"].read()
    start("200 OK", PLAIN)
    return [b"%s %s %s %s" % (rest, own, environ["PATH_INFO"].encode(), str("X-LEAK" in environ).encode())]


def use_in_thread(environ, start):
    """Starts a thread that calls `write` during a later request."""
    write = start("200 OK", PLAIN)

    def late():
        wait_for("go")
        kept["late"] = attempt(write, b"LEAK")
        open("gone", "w").close()

    threading.Thread(target=late).start()
    return [b"started"]


def meanwhile(environ, start):
    start("200 OK", PLAIN)
    yield b"begun "
    open("go", "w").close()
    wait_for("gone")
    yield kept["late"].encode()


class Slow:
    """An exc_info that blocks when its exception is read."""

    def __getitem__(self, index):
        open("slow", "w").close()
        wait_for("go")
        return ValueError("late") if index == 1 else None


def slow_exc_info(environ, start):
    write = start("200 OK", PLAIN)
    write(b"begun ")
    threading.Thread(target=lambda: attempt(start, "500 Late", [], Slow())).start()
    wait_for("slow")
    return [b"and done"]


class SlowText(str):
    def __repr__(self):
        open("slow", "w").close()
        wait_for("go")
        return "slow"


def slow_text(environ, start):
    threading.Thread(target=lambda: attempt(start, SlowText("bad\nstatus"), [])).start()
    wait_for("slow")
    start("200 OK", PLAIN)
    return [b"done"]


def application(environ, start_response):
    name = environ["PATH_INFO"][1:].replace("-", "_")
    if name in globals():
        return globals()[name](environ, start_response)
    start_response("200 OK", PLAIN)
    return [b"answer to ", name.encode()]
