"""Decorators for the uwsgi module: those that ruwsgi supports."""

import functools
import threading

import uwsgi

__all__ = ["postfork", "thread"]

_after_fork = []
_previous_hook = None


def _run_after_fork():
    if _previous_hook is not None:
        _previous_hook()
    for wid, function in list(_after_fork):
        if wid in (0, uwsgi.worker_id()):
            function()


def _install_hook():
    """Sets the post-fork hook; it calls one that the application has set before."""
    global _previous_hook
    hook = getattr(uwsgi, "post_fork_hook", None)
    if hook is not _run_after_fork:
        _previous_hook = hook
        uwsgi.post_fork_hook = _run_after_fork


def postfork(function=None, wid=0):
    """Calls the function in each worker after its fork, or in worker `wid` only."""
    if not callable(function):
        number = wid if function is None else function
        return functools.partial(postfork, wid=number)
    _install_hook()
    _after_fork.append((wid, function))
    return function


def thread(function):
    """Runs each call of the function in a new thread."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        new = threading.Thread(target=function, args=args, kwargs=kwargs, daemon=True)
        new.start()
        return new

    return wrapper


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(f"module 'uwsgidecorators' has no attribute '{name}'")
    raise AttributeError(f"uwsgidecorators.{name} is not available in ruwsgi")
