"""Reads the request body and responds with its length."""


def application(environ, start_response):
    length = len(environ["wsgi.input"].read())
    if length != int(environ["CONTENT_LENGTH"]):
        raise OSError(f"the body has {length} bytes")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % length]
