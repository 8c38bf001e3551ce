"""A page that shows that the server works, and what a WSGI application is given."""

import html
import os
import sys
import threading

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>It works: {server}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .2rem .6rem; border-top: 1px solid #ccc; }}
th {{ width: 16rem; }} td {{ font-family: monospace; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>It works</h1>
<p>{server} serves <code>vassals-example/hello/hello.py</code>. Change that file, send the master a SIGHUP
(<code>kill -HUP {master}</code>) and reload this page: no request is lost meanwhile.</p>
<h2>Who answered</h2>
<table>{process}</table>
<h2>The request (<code>environ</code>)</h2>
<table>{environ}</table>
</body>
</html>
"""


def rows(pairs):
    return "\n".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>" for name, value in pairs
    )


def application(environ, start_response):
    process = [
        ("worker's process", os.getpid()),
        ("thread", threading.current_thread().name),
        ("Python", sys.version),
        ("interpreter", sys.executable),
        ("prefix", sys.prefix),
        ("working directory", os.getcwd()),
    ]
    version = environ.get("uwsgi.version", b"")
    if isinstance(version, bytes):
        version = version.decode("latin-1")
    page = PAGE.format(
        server=html.escape(f"ruwsgi {version}".strip()),
        master=os.getppid(),
        process=rows(process),
        environ=rows(sorted(environ.items())),
    ).encode()
    start_response(
        "200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
    )
    return [page]
