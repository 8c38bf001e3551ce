"""Responds with its environ as JSON: the strings, the types of other values, and the body."""
import json


def application(environ, start_response):
    known = {key: value for key, value in environ.items() if isinstance(value, str)}
    known["types"] = {key: type(value).__name__ for key, value in environ.items()}
    known["reprs"] = {key: repr(value) for key, value in environ.items() if not isinstance(value, str)}
    known["body"] = environ["wsgi.input"].read().decode("latin-1")
    known["class"] = type(environ).__module__ + "." + type(environ).__name__
    answer = json.dumps(known).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer]
