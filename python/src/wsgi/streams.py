"""The streams to the log: sys.stdout, sys.stderr and wsgi.errors."""

import errno
import io
import sys


PIECE = 65536


class LogFile(io.FileIO):
    """A descriptor of the log. Output that the log does not take is dropped: the disk is full, or its reader is gone."""

    def write(self, data):
        try:
            written = super().write(data)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise
            # more than a packet to the log thread holds; the buffers above write the rest
            if error.errno == errno.EMSGSIZE:
                return super().write(memoryview(data)[:PIECE])
            written = None
        return len(data) if written is None else written


class Errors(io.TextIOWrapper):
    """wsgi.errors. All requests share it, so an application cannot close it."""

    def close(self):
        self.flush()


def log_file(fd, name):
    raw = LogFile(fd, "w", closefd=False)
    raw.name = name
    return raw


def replace(name, fd):
    """Replaces sys.stdout or sys.stderr, if it is the interpreter's own, by one that drops what the log does not take."""
    old = getattr(sys, name)
    if type(old) is not io.TextIOWrapper or old.fileno() != fd:
        return
    raw = log_file(fd, f"<{name}>")
    stream = io.TextIOWrapper(
        raw if isinstance(old.buffer, io.RawIOBase) else io.BufferedWriter(raw),
        encoding=old.encoding,
        errors=old.errors,
        newline="\n",
        line_buffering=old.line_buffering,
        write_through=old.write_through,
    )
    stream.mode = "w"
    old.flush()
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def install():
    """Replaces the standard streams, and returns wsgi.errors."""
    replace("stdout", 1)
    replace("stderr", 2)
    buffer = io.BufferedWriter(log_file(2, "<wsgi.errors>"))
    return Errors(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
