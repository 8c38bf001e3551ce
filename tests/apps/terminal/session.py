"""Runs a server on a terminal of its own: session.py PORT BINARY OPTIONS. Prints what happened, as JSON."""

import json
import os
import pty
import select
import signal
import sys
import termios
import threading
import time
import urllib.request

port, command = sys.argv[1], sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(command[0], command)
seen = b""


def read_until(text, seconds=30):
    """Reads the output until this text follows what was read before."""
    global seen
    start, end = len(seen), time.monotonic() + seconds
    while time.monotonic() < end and text not in seen[start:]:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:
                return False
    return text in seen[start:]


def ask(path, answers):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%s%s" % (port, path), timeout=40) as answer:
            answers.append(answer.read().decode())
    except Exception as error:
        answers.append(repr(error))


def asking(path):
    answers = []
    thread = threading.Thread(target=ask, args=(path, answers))
    thread.start()
    return thread, answers


facts = {"started": read_until(b"ready: ")}
thread, answers = asking("/line")
os.write(fd, b"typed\n")
thread.join()
facts["line"] = answers[0]
for number in (42, 43):
    thread, answers = asking("/debugged")
    facts["prompt %d" % number] = read_until(b"(Pdb) ")
    os.write(fd, b"answer = %d\n" % number)
    read_until(b"(Pdb) ")
    os.write(fd, b"c\n")
    thread.join()
    facts["answer %d" % number] = answers[0]
thread, answers = asking("/stopped")
facts["prompt at the end"] = read_until(b"(Pdb) ")
begun = time.monotonic()
os.write(fd, b"\x03")
ended = 0
while ended != pid and time.monotonic() < begun + 30:
    # a full terminal would block the server
    read_until(b"nothing", 0.05)
    ended = os.waitpid(pid, os.WNOHANG)[0]
facts["stopped"] = ended == pid
facts["seconds"] = time.monotonic() - begun
if ended == pid:
    facts["echo"] = bool(termios.tcgetattr(fd)[3] & termios.ECHO) if os.name == "posix" else True
else:
    os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
thread.join()
facts["output"] = seen.decode(errors="replace")
print(json.dumps(facts))
