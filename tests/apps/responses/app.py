"""One path for each way to start a response."""
import os
import sys
import time
from urllib.parse import unquote

PLAIN = [("Content-Type", "text/plain")]


def wait_for_gate():
    while not os.path.exists("gate"):
        time.sleep(0.005)


def headers(environ, start):
    start("418 I'm a teapot", [("X-One", "1"), ("X-lOwEr", "mixed"), ("X-One", "again"), ("X-Empty", ""), ("X-Latin", "caf\xe9")])
    return [b"short and stout"]


def exc_info_before(environ, start):
    start("200 OK", [("X-First", "1")])
    try:
        1 / 0
    except ZeroDivisionError:
        start("500 Oops", PLAIN, sys.exc_info())
    return [b"an error page"]


def exc_info_after(environ, start):
    start("200 OK", PLAIN)
    yield b"begun"
    try:
        1 / 0
    except ZeroDivisionError:
        start("500 Oops", PLAIN, sys.exc_info())
        print("not reached", file=sys.stderr)
    yield b"not reached"


def written(environ, start):
    write = start("200 OK", PLAIN)
    write(b"first ")
    write(b"second ")
    return [b"third"]


def write_gate(environ, start):
    write = start("200 OK", PLAIN)
    write(b"first")
    wait_for_gate()
    return [b"second"]


def too_long_write(environ, start):
    write = start("200 OK", [("Content-Length", "5")])
    write(b"123")
    write(b"456")
    return [b"789"]


def twice(environ, start):
    start("200 OK", PLAIN)
    start("201 Created", PLAIN)
    return [b"x"]


def changed(environ, start):
    mine = [("X-Kept", "1")]
    start("200 OK", mine)
    mine.append(("X-Late", "1"))
    return [b"x"]


def fixed(status, fields, *blocks):
    def app(environ, start):
        start(status, fields)
        return list(blocks)

    return app


def by_query(status_of):
    def app(environ, start):
        start(status_of(environ["QUERY_STRING"]), PLAIN)
        return [b"the body"]

    return app


def large_header(environ, start):
    start("200 OK", [("X-Large", "v" * int(environ["QUERY_STRING"]))])
    return [b"x"]


def empty(environ, start):
    start(environ["QUERY_STRING"], [])
    return []


def with_length(environ, start):
    start(unquote(environ["QUERY_STRING"]), [("Content-Length", "5")])
    return [b"hello"]


PATHS = {
    "/headers": headers,
    "/one": fixed("200 OK", PLAIN, b"one"),
    "/none": fixed("200 OK", PLAIN),
    "/blocks": lambda environ, start: (start("200 OK", PLAIN), iter([b"a", b"", b"b"]))[1],
    "/own-length": fixed("200 OK", [("Content-Length", "7")], b"seven b"),
    "/status": by_query(unquote),
    "/empty": empty,
    "/length": with_length,
    "/length-blocks": lambda environ, start: iter(with_length(environ, start)),
    "/blank-length": fixed("200 OK", [("Content-Length", "")], b"x"),
    "/spaces-length": fixed("200 OK", [("Content-Length", "  ")], b"x"),
    "/padded-length": fixed("200 OK", [("Content-Length", " 1 ")], b"x"),
    "/too-long": fixed("200 OK", [("Content-Length", "5")], b"123456789"),
    "/too-long-blocks": fixed("200 OK", [("Content-Length", "5")], b"123", b"456", b"789"),
    "/too-long-write": too_long_write,
    "/too-short": fixed("200 OK", [("Content-Length", "5")], b"123"),
    "/split-status": fixed("200 OK\r\nX-Evil: 1", PLAIN, b"x"),
    "/split-value": fixed("200 OK", [("X-A", "b\r\nX-Evil: 1")], b"x"),
    "/split-name": fixed("200 OK", [("X-A: b\nX-Evil", "1")], b"x"),
    "/nul-value": fixed("200 OK", [("X-Evil", "a\0b")], b"x"),
    "/cr-value": fixed("200 OK", [("X-Evil", "a\rb")], b"x"),
    "/bytes-status": fixed(b"200 OK", PLAIN, b"x"),
    "/int-status": fixed(200, PLAIN, b"x"),
    "/tuple-headers": fixed("200 OK", 7, b"x"),
    "/list-header": fixed("200 OK", ["X-A: b"], b"x"),
    "/bytes-header": fixed("200 OK", [(b"X-A", b"b")], b"x"),
    "/wide-header": fixed("200 OK", [("X-A", "\u20ac")], b"x"),
    "/empty-name": fixed("200 OK", [("", "b")], b"x"),
    "/large-header": large_header,
    "/many-headers": fixed("200 OK", [("X-N", str(n)) for n in range(500)], b"x"),
    "/write": written,
    "/write-gate": write_gate,
    "/exc-info-before": exc_info_before,
    "/exc-info-after": exc_info_after,
    "/twice": twice,
    "/never": lambda environ, start: [b"a body without a status"],
    "/changed": changed,
}


def application(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
