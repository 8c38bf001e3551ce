"""Uses every feature of PEP 3333, inside the validator of wsgiref."""
from wsgiref.validate import validator


def simple(environ, start_response):
    body = environ["wsgi.input"]
    text = body.read(3) + body.readline() + b"".join(body.readlines()) + b"".join(body) + body.read(10)
    environ["wsgi.errors"].write("noted\n")
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["REQUEST_METHOD"] != "HEAD":
        write(b"valid ")
    return [text] if environ["REQUEST_METHOD"] != "HEAD" else []


application = validator(simple)
