"""Reads its body by random calls and compares each result with io.BytesIO's."""
import io
import itertools
import random


def calls(dice, every):
    size = lambda: dice.choice([1, 2, 7, 50, 1000, 4096, 70000, dice.randrange(1, 300)])
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
    return dice.choices(kinds, weights)[0]


def compare(body, seed, every):
    length = int(body["CONTENT_LENGTH"] or 0)
    received = body["wsgi.input"]
    # the whole is known by its pattern only to the client, so the model is built as we read
    seen, steps, dice = [], [], random.Random(seed)
    for number in range(60):
        call = calls(random.Random(seed * 1000 + number), every)
        steps.append(call)
        seen.append(call(received))
    rest = received.read()
    flat = b"".join(b"".join(item) if isinstance(item, list) else item for item in seen) + rest
    if len(flat) != length:
        return f"{len(flat)} bytes of {length} came"
    model = io.BytesIO(flat)
    for number, (call, got) in enumerate(zip(steps, seen)):
        wanted = call(model)
        if wanted != got:
            return f"call {number} gave {got[:60]!r}, BytesIO {wanted[:60]!r}"
    return "agreed" if model.read() == rest else "the rest is another"


def application(environ, start_response):
    answer = compare(environ, int(environ["QUERY_STRING"]), environ["PATH_INFO"] == "/every")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
