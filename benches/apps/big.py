"""Responds with ten megabytes in one block."""

BODY = b"0123456789abcdef" * (10 * 1024 * 1024 // 16)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(BODY)))])
    return [BODY]
