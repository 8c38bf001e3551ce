"""Threads that use one cache, and report a value that is torn or lost."""
import hashlib
import os
import random
import threading
import time

import uwsgi

THREADS = 8
done = [0] * THREADS
faults = []


def shared_value(rng):
    body = rng.randbytes(rng.randrange(1, 3000))
    return hashlib.md5(body).digest() + body


def is_whole(value):
    return value is None or hashlib.md5(value[16:]).digest() == value[:16]


def check(condition, what):
    if not condition:
        faults.append(what)


def step(rng, own, model, number):
    key = "shared%d" % rng.randrange(50)
    choice = rng.randrange(10)
    if choice < 2:
        uwsgi.cache_update(key, shared_value(rng))
    elif choice == 2:
        uwsgi.cache_del(key)
    elif choice == 3:
        uwsgi.cache_set(key, shared_value(rng), rng.randrange(3))
    elif choice == 4:
        before = uwsgi.cache_num("total")
        uwsgi.cache_inc("total")
        check(uwsgi.cache_num("total") > before, "the counter went back")
    elif choice == 5:
        check(is_whole(uwsgi.cache_get(key)), "torn: " + key)
    else:
        mine = own + str(rng.randrange(5))
        if mine not in model or rng.randrange(2):
            value = rng.randbytes(rng.randrange(1, 900))
            if uwsgi.cache_update(mine, value):
                model[mine] = value
            else:
                check(False, "not stored: " + mine)
        else:
            check(uwsgi.cache_get(mine) == model[mine], "lost: " + mine)


def run(number):
    rng = random.Random(os.getpid() * 100 + number)
    own, model = "own%d-%d-" % (uwsgi.worker_id(), number), {}
    while True:
        step(rng, own, model, number)
        done[number] += 1


def start():
    for number in range(THREADS):
        threading.Thread(target=run, args=(number,), daemon=True).start()


uwsgi.post_fork_hook = start


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    total = uwsgi.cache_num("total")
    return [("%r %d %d" % (faults, sum(done), total)).encode()]
