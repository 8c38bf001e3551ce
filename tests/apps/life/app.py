"""Requests that end workers: they run for too long, use memory, crash or exit."""
import ctypes
import os
import re
import signal
import socket
import sys
import threading
import time

kept = []
born = time.monotonic()


def sleep(seconds):
    time.sleep(float(seconds or 30))
    return "slept"


def loop(_):
    while True:
        pass


def regex(_):
    """Backtracks for hours in one C call that holds the interpreter lock."""
    return str(re.match(r"(a+)+$", "a" * 60 + "b"))


def blocked(_):
    one, other = socket.socketpair()
    with one, other:
        one.recv(1)


def stubborn(_):
    """Catches every exception."""
    while True:
        try:
            time.sleep(0.05)
        except BaseException:
            pass


def grow(mebibytes):
    kept.append(bytearray(int(mebibytes) << 20))
    return "%d" % len(kept)


def children(_):
    if not os.fork():
        os._exit(0)
    return "forked"


def linger(seconds):
    """Starts a non-daemon thread that outlives its request."""
    def live():
        time.sleep(float(seconds))
        with open("lingered", "w") as file:
            file.write("to the end")

    threading.Thread(target=live).start()
    return "started"


def balloon(_):
    try:
        block = bytearray(1 << 30)
    except MemoryError:
        return "MemoryError"
    return "%d" % len(block)


def hog(seconds):
    """Holds the interpreter lock in one C call, unless it runs on the main thread."""
    if threading.current_thread() is threading.main_thread():
        return "on the main thread"
    ctypes.PyDLL(None).sleep(int(seconds))
    return "hogged"


PATHS = {
    "/": lambda _: "hello",
    "/pid": lambda _: "%d" % os.getpid(),
    "/sleep": sleep,
    "/loop": loop,
    "/regex": regex,
    "/blocked": blocked,
    "/stubborn": stubborn,
    "/grow": grow,
    "/children": children,
    "/linger": linger,
    "/balloon": balloon,
    "/hog": hog,
    "/segfault": lambda _: ctypes.string_at(0),
    "/exit": lambda code: os._exit(int(code)),
    "/sysexit": lambda code: sys.exit(int(code)),
    "/abort": lambda _: os.abort(),
    "/kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "/threads": lambda _: "%d" % threading.active_count(),
}


def application(environ, start_response):
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter_slowly(float(environ["QUERY_STRING"] or 30))
    answer = PATHS[environ["PATH_INFO"]](environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]


def iter_slowly(seconds):
    yield b"begun\n"
    time.sleep(seconds)
    yield b"ended\n"
