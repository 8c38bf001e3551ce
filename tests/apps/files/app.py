"""Response bodies made with wsgi.file_wrapper."""
import io
import os


class Noting:
    """A file that records its close() call."""

    def __init__(self, file, note):
        self.file, self.note, self.read = file, note, file.read

    def close(self):
        self.file.close()
        with open("closed", "a") as closed:
            closed.write(self.note + "\n")


class WithDescriptor(Noting):
    def fileno(self):
        return self.file.fileno()


class Reader:
    def __init__(self):
        self.left = [b"from ", b"an ", b"object", b""]

    def read(self, size=-1):
        return self.left.pop(0)


def content():
    with open("data", "rb") as file:
        return file.read()


def opened(position=0):
    file = open("data", "rb")
    file.seek(position)
    return file


def read_first():
    file = open("data", "rb")
    file.read(10)
    return file


def pipe():
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe")
    os.close(writer)
    return os.fdopen(reader, "rb")


def closed(query):
    if query == "memory":
        return Noting(io.BytesIO(b"some bytes"), query)
    return WithDescriptor(open("data", "rb"), query)


def iterated(wrap):
    yield from iter(wrap(open("data", "rb"), 10000))


def application(environ, start_response):
    path, query, wrap = environ["PATH_INFO"], environ["QUERY_STRING"], environ["wsgi.file_wrapper"]
    fields = [("Content-Type", "application/octet-stream")]
    if path == "/with-length":
        fields.append(("Content-Length", str(os.path.getsize("data"))))
    if path == "/range":
        fields.append(("Content-Length", query))
    body = {
        "/whole": lambda: wrap(opened()),
        "/with-length": lambda: wrap(opened()),
        "/block-size": lambda: wrap(opened(), 8192),
        "/from": lambda: wrap(opened(int(query))),
        "/read-first": lambda: wrap(read_first()),
        "/range": lambda: wrap(opened(1000)),
        "/memory": lambda: wrap(io.BytesIO(content())),
        "/object": lambda: wrap(Reader()),
        "/pipe": lambda: wrap(pipe()),
        "/text": lambda: wrap(open("app.py")),
        "/no-read": lambda: wrap(object()),
        "/iterated": lambda: list(iterated(wrap)),
        "/closed": lambda: wrap(closed(query)),
    }[path]()
    start_response("200 OK", fields)
    return body
