"""Responds with the time of its import."""
import time

BORN = repr(time.time_ns()).encode()


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [BORN]
