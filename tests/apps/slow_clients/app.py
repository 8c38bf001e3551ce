"""Large responses of known content: /length has a Content-Length, /stream has none, /file is sent from a file."""
import tempfile

BLOCK = b"x" * 65535 + b"\n"
BLOCKS = 320


def application(environ, start_response):
    path, headers = environ["PATH_INFO"], [("Content-Type", "text/plain")]
    if path in ("/length", "/file"):
        headers.append(("Content-Length", str(BLOCKS * len(BLOCK))))
    if path == "/hello":
        start_response("200 OK", headers)
        return [b"hello"]
    start_response("200 OK", headers)
    if path == "/file":
        file = tempfile.TemporaryFile()
        for _ in range(BLOCKS):
            file.write(BLOCK)
        file.seek(0)
        return environ["wsgi.file_wrapper"](file, 65536)
    return (BLOCK for _ in range(BLOCKS))
