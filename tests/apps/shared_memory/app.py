"""Evaluates the expression in the query string, and answers with the repr of the result."""
import os
import time
from urllib.parse import unquote

import uwsgi


def application(environ, start_response):
    try:
        result = eval(unquote(environ["QUERY_STRING"]), {"uwsgi": uwsgi, "os": os, "time": time})
    except Exception as error:
        result = type(error).__name__
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(result).encode()]
