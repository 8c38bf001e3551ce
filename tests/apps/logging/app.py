"""Writes to the log what the query says."""

import logging
import os
import sys
import traceback
from urllib.parse import unquote

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")


def fail(text):
    try:
        raise ValueError(text)
    except ValueError as error:
        raise KeyError(text) from error


def application(environ, start_response):
    path, text = environ["PATH_INFO"], unquote(environ["QUERY_STRING"], "latin-1")
    if path == "/print":
        print(text, flush=True)
    elif path == "/write":
        os.write(2, text.encode("latin-1"))
    elif path == "/logged":
        try:
            fail(text)
        except KeyError:
            logging.exception("failed")
    elif path == "/traceback":
        try:
            fail(text)
        except KeyError:
            traceback.print_exc()
        print("after the traceback", file=sys.stderr, flush=True)
    elif path == "/die":
        print(text, flush=True)
        os.kill(os.getpid(), 9)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok\n"]
