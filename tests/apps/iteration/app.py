"""One path for each kind of response body, and for each kind of failure."""
import os
import signal
import time

WORDS = [b"one ", b"two ", b"three"]
PLAIN = [("Content-Type", "text/plain"), ("X-App", "1")]


def started(body):
    def app(environ, start):
        start("200 OK", PLAIN)
        return body() if callable(body) else body

    return app


class Iterator:
    def __init__(self):
        self.left = list(WORDS)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


class Sequence:
    def __getitem__(self, n):
        return WORDS[n]


def late(environ, start):
    start("200 OK", [("X-Late", "1")])
    yield from WORDS


def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.005)


def gated():
    yield b"block 1"
    wait_for("gate-1")
    yield b"block 2"
    wait_for("gate-2")
    yield b"block 3"


class Gated:
    def __init__(self):
        self.blocks = gated()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)


class Closing:
    """Records its close() call in a file."""

    def __init__(self, environ, blocks):
        self.note = environ["QUERY_STRING"] + " " + environ["REQUEST_METHOD"] + "\n"
        self.blocks = blocks

    def __iter__(self):
        return iter(self.blocks)

    def close(self):
        with open("closed", "a") as file:
            file.write(self.note)


class ClosingList(list):
    close = Closing.close


def failing(after):
    for _ in range(after):
        yield b"begun"
    raise RuntimeError("the application's own words")


def endless():
    try:
        while True:
            yield b"more" * 1000
    finally:
        open("generator-closed", "w").close()


def quiet():
    try:
        while True:
            yield b""
            open("quiet", "w").close()
            time.sleep(0.01)
    finally:
        open("generator-closed", "w").close()


def quiet_at_first():
    yield b""
    yield b""
    wait_for("gate")
    yield b""
    yield b"the body"


def more_forever():
    while True:
        yield b"more" * 1000


def closing(environ, start):
    case = environ["QUERY_STRING"]
    fields = [("Content-Length", "3")] if case == "too-long" else PLAIN
    if case != "no-start":
        try:
            start("200 OK", [("X-Bad", "a\r\nb")] if case == "bad-header" else fields)
        except ValueError:
            pass
    if case == "list":
        body = ClosingList(WORDS)
        body.note = "list GET\n"
        return body
    blocks = {
        "empty": [],
        "fails-first": failing(0),
        "fails-later": failing(1),
        "not-bytes": ["text"],
        "endless": more_forever(),
    }
    return Closing(environ, blocks.get(case, WORDS))


class BadClose(list):
    def close(self):
        raise RuntimeError("close went wrong")


def raising(exception):
    def app(environ, start):
        raise exception

    return app


def raise_after_start(environ, start):
    start("200 OK", PLAIN)
    raise RuntimeError("the application's own words")


def raise_later(environ, start):
    length = environ["QUERY_STRING"]
    start("200 OK", [("Content-Length", length)] if length else PLAIN)
    return failing(1)


def doing(action):
    def app(environ, start):
        action()

    return app


PATHS = {
    "/list": started(WORDS),
    "/tuple": started(tuple(WORDS)),
    "/generator": started(lambda: (word for word in WORDS)),
    "/iterator": started(Iterator),
    "/sequence": started(Sequence),
    "/set-up-late": late,
    "/bytes": started(b"all at once"),
    "/gated-generator": started(gated),
    "/gated-iterator": started(Gated),
    "/empty-blocks": started([b"", b"a", b"", b"", b"b", b""]),
    "/str-block": started(["text"]),
    "/int-block": started([7]),
    "/closing": closing,
    "/endless-generator": started(endless),
    "/quiet": started(quiet),
    "/quiet-at-first": started(quiet_at_first),
    "/bad-close": started(lambda: BadClose([b"sent"])),
    "/raise": raising(RuntimeError("the application's own words")),
    "/raise-after-start": raise_after_start,
    "/raise-first": started(lambda: failing(0)),
    "/raise-later": raise_later,
    "/none": started(lambda: None),
    "/keyboard-interrupt": raising(KeyboardInterrupt()),
    "/system-exit": raising(SystemExit(3)),
    "/generator-exit": raising(GeneratorExit()),
    "/base-exception": raising(BaseException("base")),
    "/os-exit": doing(lambda: os._exit(3)),
    "/abort": doing(os.abort),
    "/kill": doing(lambda: os.kill(os.getpid(), signal.SIGKILL)),
}


def application(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
