"""Reads request bodies (/sum, /count, /echo, /ignore) and sends large ones (/large in one block, /slices in many)."""
import resource
import zlib

LARGE = b"L" * (50 * 1024 * 1024)


def summed(body):
    size = crc = 0
    while block := body.read(65536):
        size += len(block)
        crc = zlib.crc32(block, crc)
    return b"%d %08x" % (size, crc)


def counted(body):
    size = 0
    while block := body.read(1 << 20):
        size += len(block)
    return b"%d %d" % (size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def application(environ, start_response):
    path, body = environ["PATH_INFO"], environ["wsgi.input"]
    if path == "/sum":
        answer = [summed(body)]
    elif path == "/count":
        answer = [counted(body)]
    elif path == "/echo":
        answer = [body.read()]
    elif path == "/ignore":
        answer = [b"ignored"]
    elif path == "/large":
        answer = [LARGE]
    else:
        answer = (bytes([n % 256]) * 65536 for n in range(320))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return answer
