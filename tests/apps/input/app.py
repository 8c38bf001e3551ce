"""Reads the body with random calls and compares each result with io.BytesIO."""
import io
import itertools
import random


def calls(rng, every):
    size = lambda: rng.choice([1, 2, 7, 50, 1000, 4096, 70000, rng.randrange(1, 300)])
    kinds = [
        (1, lambda f: f.read()),
        (1, lambda f: f.readlines()),
        (20, lambda f, n=size(): f.read(n)),
        (12, lambda f: f.readline()),
        (6, lambda f: list(itertools.islice(f, 3))),
    ]
    if every:
        kinds += [
            (2, lambda f: f.read(0)),
            (1, lambda f: f.read(-1)),
            (2, lambda f: f.readline(0)),
            (2, lambda f: f.readline(-1)),
            (12, lambda f, n=size(): f.readline(n)),
            (8, lambda f, n=size(): f.readlines(n)),
        ]
    weights, kinds = zip(*kinds)
    return rng.choices(kinds, weights)[0]


def compare(body, seed, every):
    length = int(body["CONTENT_LENGTH"] or 0)
    received = body["wsgi.input"]
    # only the client knows the body, so the calls run first, and the model is built from their results
    seen, steps, rng = [], [], random.Random(seed)
    for number in range(60):
        call = calls(random.Random(seed * 1000 + number), every)
        steps.append(call)
        seen.append(call(received))
    rest = received.read()
    flat = b"".join(b"".join(item) if isinstance(item, list) else item for item in seen) + rest
    if len(flat) != length:
        return f"{len(flat)} bytes of {length} received"
    model = io.BytesIO(flat)
    for number, (call, got) in enumerate(zip(steps, seen)):
        expected = call(model)
        if expected != got:
            return f"call {number} returned {got[:60]!r}, BytesIO returned {expected[:60]!r}"
    return "agreed" if model.read() == rest else "the rest differs"


def application(environ, start_response):
    answer = compare(environ, int(environ["QUERY_STRING"]), environ["PATH_INFO"] == "/every")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
