"""An application that forks: children of os.fork, multiprocessing, subprocess and concurrent.futures."""
import atexit
import concurrent.futures
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

atexit.register(lambda: open("exited", "a").write("%d\n" % os.getpid()))
fork = multiprocessing.get_context("fork")


def rest():
    time.sleep(60)


def facts():
    """What a process has inherited: caught signals, and what its descriptors are."""
    status = open("/proc/self/status").read()
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    return {
        "caught": int(status.split("SigCgt:")[1].split()[0], 16),
        "blocked": int(status.split("SigBlk:")[1].split()[0], 16),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "private": [l for l in links if l.startswith("socket:") or "eventpoll" in l or "eventfd" in l],
    }


def tell(path):
    with open(path + ".part", "w") as file:
        json.dump(facts(), file)
    os.rename(path + ".part", path)


def forked(leave):
    """Forks a child that ends with `leave`; returns its exit status, once it has ended."""
    pid = os.fork()
    if pid == 0:
        leave()
    return pid


def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = "?"
    if path == "/facts":
        child = fork.Process(target=tell, args=("facts",))
        child.start()
        child.join()
        body = open("facts").read()
    elif path == "/preexec":
        subprocess.run(["true"], preexec_fn=lambda: tell("preexec"))
        body = open("preexec").read()
    elif path == "/terminate":
        child = fork.Process(target=rest)
        child.start()
        child.terminate()
        child.join(20)
        body = str(child.exitcode)
        child.kill()
    elif path == "/pool":
        with fork.Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
            pool.apply_async(rest)
        body = "terminated"
    elif path == "/methods":
        answers = []
        for method in ["fork", "spawn", "forkserver"]:
            context = multiprocessing.get_context(method)
            with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
                answers.append(executor.submit(abs, -1).result())
        body = str(answers)
    elif path == "/outlives":
        pid = forked(rest)
        open("pid", "w").write(str(pid))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"answered"])
    elif path == "/exit":
        pid = forked(lambda: sys.exit(7))
        body = str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    elif path == "/raise":
        pid = forked(lambda: 1 // 0)
        body = str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    elif path == "/generator":
        return generator(start_response)
    elif path == "/end-of-generator":
        return end_of_generator(start_response)
    elif path == "/return":
        pid = os.fork()
        if pid != 0:
            body = str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        else:
            try:
                start_response("200 OK", [])
            except RuntimeError as error:
                open("refused", "w").write(str(error))
            return [b"the child"]
    elif path == "/pid":
        body = str(os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]


def generator(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    pid = os.fork()
    if pid == 0:
        yield b"the child"
    yield str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()


def end_of_generator(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    pid = os.fork()
    if pid != 0:
        yield str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()
