"""Keeps objects of a request and uses them in later ones."""
import os
import resource
import threading
import time
import weakref

try:
    import _testcapi
except ImportError:
    _testcapi = None

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


def keep_weakly(environ, start):
    kept["weak"] = weakref.ref(start)
    start("200 OK", PLAIN)
    return [b"kept"]


def use_weakly(environ, start):
    late = kept["weak"]()
    leak = late is start or late is not None and attempt(late, "302 Found", [("X-Leak", "1")])
    start("200 OK", PLAIN)
    return [str(leak).encode()]


def write_in_threads(environ, start):
    """Several threads write large blocks while the server sends those of the generator."""
    write = start("200 OK", PLAIN)

    def blocks():
        for _ in range(20):
            write(b"t" * 100_000)

    threads = [threading.Thread(target=blocks) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        yield b"g" * 100_000
    for thread in threads:
        thread.join()


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


def out_of_memory(environ, start):
    """Reads the body without memory, as if it were io.BytesIO."""
    limit = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (8 << 20), limit[1]))
    held = []
    try:
        for part in (1 << 20, 1 << 19):
            try:
                while True:
                    held.append(bytearray(part))
            except MemoryError:
                pass
        method = environ["QUERY_STRING"]
        try:
            getattr(environ["wsgi.input"], method)()
            said = b"no error"
        except MemoryError:
            said = b"MemoryError"
    finally:
        held.clear()
        resource.setrlimit(resource.RLIMIT_AS, limit)
    rest = len(environ["wsgi.input"].read())
    start("200 OK", PLAIN)
    return [b"%s %d" % (said, rest)]


def failing_allocations(environ, start):
    """From the nth allocation on, some fail."""
    nth = int(environ["QUERY_STRING"])
    body = environ["wsgi.input"]
    if nth % 2:
        start("200 OK", PLAIN)
    _testcapi.set_nomemory(nth // 2, nth // 2 + 1 + nth % 5)
    try:
        line = body.readline()
        rest = body.readlines()
        if not nth % 2:
            start("200 OK", [("X-A", "b"), ("Content-Type", "text/plain")])
    finally:
        if nth % 3:
            _testcapi.remove_mem_hooks()
    return [line] + rest


def pid(environ, start):
    if _testcapi is not None:
        _testcapi.remove_mem_hooks()
    start("200 OK", PLAIN)
    return [b"%d" % os.getpid()]


def application(environ, start_response):
    name = environ["PATH_INFO"][1:].replace("-", "_")
    if name in globals():
        return globals()[name](environ, start_response)
    start_response("200 OK", PLAIN)
    return [b"answer to ", name.encode()]
