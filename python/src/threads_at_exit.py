"""Describes the threads for which the exit of a worker waits."""

import os
import sys
import threading


def waited_for():
    main = threading.main_thread()
    return [it for it in threading.enumerate() if it is not main and not it.daemon]


def place(frame):
    """The file and line of the innermost frame outside of the standard library."""
    library = os.path.dirname(threading.__file__)
    here = frame
    while here is not None:
        name = here.f_code.co_filename
        inside = name.startswith(library) and "-packages" not in name
        if not inside and not name.startswith("<"):
            break
        here = here.f_back
    here = here or frame
    return "%s:%d in %s" % (here.f_code.co_filename, here.f_lineno, here.f_code.co_name)


def describe():
    frames = sys._current_frames()
    found = []
    for thread in waited_for():
        frame = frames.get(thread.ident)
        found.append("%s at %s" % (thread.name, place(frame)) if frame else thread.name)
    return found
