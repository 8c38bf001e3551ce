"""Decorators over the uwsgi module: those whose ground ruwsgi has."""

import functools
import threading

import uwsgi

__all__ = ["postfork", "thread"]

_after_fork = []
_hook_before = None


def _run_after_fork():
    if _hook_before is not None:
        _hook_before()
    for wid, function in list(_after_fork):
        if wid in (0, uwsgi.worker_id()):
            function()


def _hook_in():
    """Goes in front of a hook that the application has set itself."""
    global _hook_before
    hook = getattr(uwsgi, "post_fork_hook", None)
    if hook is not _run_after_fork:
        _hook_before = hook
        uwsgi.post_fork_hook = _run_after_fork


def postfork(function=None, wid=0):
    """Calls the function in each worker after its fork, or only in worker `wid`."""
    if not callable(function):
        number = wid if function is None else function
        return functools.partial(postfork, wid=number)
    _hook_in()
    _after_fork.append((wid, function))
    return function


def thread(function):
    """Makes a call of the function start it in a thread of its own."""

    @functools.wraps(function)
    def start(*args, **kwargs):
        started = threading.Thread(target=function, args=args, kwargs=kwargs, daemon=True)
        started.start()
        return started

    return start


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(f"module 'uwsgidecorators' has no attribute '{name}'")
    raise AttributeError(f"uwsgidecorators.{name} is not available in ruwsgi")
