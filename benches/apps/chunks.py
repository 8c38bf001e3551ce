"""Responds with a hundred blocks; each is sent at once."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(100):
        yield b"a piece of the answer, 40 bytes in all\r\n"
