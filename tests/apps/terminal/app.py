import sys


def application(environ, start_response):
    answer = 41
    if environ["PATH_INFO"] == "/line":
        answer = sys.stdin.readline().strip()
    else:
        breakpoint()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answer %s\n" % str(answer).encode()]
