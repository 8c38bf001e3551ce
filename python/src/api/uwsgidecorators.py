"""Decorators for the module uwsgi."""

import functools
import threading

import uwsgi

__all__ = [
    "cron",
    "cron_tasks",
    "farm",
    "filemon",
    "get_free_signal",
    "harakiri",
    "lock",
    "mule",
    "mulefunc",
    "muleloop",
    "mulemsg",
    "mulemsg_loop",
    "postfork",
    "rbtimer",
    "signal",
    "thread",
    "timer",
]

# The names of uWSGI's module that need a feature which is not available, each with the way out.
_ABSENT = {
    "spool": "there is no spooler; use a task queue such as Celery, Dramatiq or RQ",
    "spoolraw": "there is no spooler; use a task queue such as Celery, Dramatiq or RQ",
    "spoolforever": "there is no spooler; use a task queue such as Celery, Dramatiq or RQ",
    "erlang": "Erlang is not supported; use a message broker",
}

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
    """Calls the function in each worker and mule after its fork, or in worker `wid` only."""
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


def get_free_signal():
    """Returns the first signal that has no handler."""
    for number in range(256):
        if not uwsgi.signal_registered(number):
            return number
    raise RuntimeError("all 256 signals have a handler")


def signal(num, target=""):
    """Registers the function as the handler of signal `num`, for the processes that `target` names."""

    def register(function):
        uwsgi.register_signal(num, target, function)
        return function

    return register


def _trigger(function, add, signum, target):
    """Registers the function for a signal, and calls `add` with its number."""
    number = get_free_signal() if signum is None else signum
    uwsgi.register_signal(number, target, function)
    add(number)
    return function


def timer(secs, signum=None, target=""):
    """Calls the function every `secs` seconds, with the number of the signal."""
    return lambda function: _trigger(
        function, lambda number: uwsgi.add_timer(number, secs), signum, target
    )


def rbtimer(secs, signum=None, target=""):
    """The same as `timer`."""
    return lambda function: _trigger(
        function, lambda number: uwsgi.add_rb_timer(number, secs), signum, target
    )


def cron(minute, hour, day, month, dayweek, signum=None, target=""):
    """Calls the function at times of the local clock; -1 is any value, -5 every fifth."""
    fields = (minute, hour, day, month, dayweek)
    return lambda function: _trigger(
        function, lambda number: uwsgi.add_cron(number, *fields), signum, target
    )


def cron_tasks(*entries):
    """Calls the function at each of several times, given as tuples of the five fields of `cron`."""

    def register(function):
        for entry in entries:
            cron(*entry)(function)
        return function

    return register


def filemon(fsobj, signum=None, target=""):
    """Calls the function when the file, or a file in the directory, changes."""
    return lambda function: _trigger(
        function, lambda number: uwsgi.add_file_monitor(number, fsobj), signum, target
    )


def harakiri(seconds):
    """Sets a deadline for each call of the function within a request."""

    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            uwsgi.set_user_harakiri(seconds)
            try:
                return function(*args, **kwargs)
            finally:
                uwsgi.set_user_harakiri(0)

        return wrapper

    return decorate


def lock(function):
    """Runs the function in one process of the instance at a time."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        uwsgi.lock()
        try:
            return function(*args, **kwargs)
        finally:
            uwsgi.unlock()

    # without the function of the module the decorator would fail only at the first call
    uwsgi.lock
    return wrapper


def _in_mule(num, run):
    """Calls `run` in mule `num` after its fork."""

    def start():
        if uwsgi.mule_id() == num:
            run()

    postfork(start)


def mule(num):
    """Calls the function in mule `num` after its fork. The mule is replaced when the function returns."""

    def register(function):
        _in_mule(num, function)
        return function

    return register


def muleloop(num):
    """Calls the function in mule `num` again and again."""

    def register(function):
        def loop():
            while True:
                function()

        _in_mule(num, loop)
        return function

    return register


def mulemsg(num):
    """Calls the function in mule `num` with each message that the mule gets."""

    def register(function):
        def loop():
            while True:
                message = uwsgi.mule_get_msg()
                if message:
                    function(message)

        _in_mule(num, loop)
        return function

    return register


mulemsg_loop = mulemsg


def farm(name=None):
    """Calls the function in one mule of the farm for each message of the farm."""

    def register(function):
        def loop():
            if uwsgi.mule_id() == 0 or not uwsgi.in_farm(name):
                return
            while True:
                message = uwsgi.farm_get_msg()
                if message:
                    function(message)

        postfork(loop)
        return function

    return register


_mule_functions = {}
_SERVICE = "uwsgi_mulefunc"


def _call_mule_function(message):
    import pickle

    call = pickle.loads(message)
    if call["service"] == _SERVICE:
        return _mule_functions[call["func"]](*call["args"], **call["kwargs"])


def mulefunc(target=None):
    """Runs each call of the function in a mule: in any, in the mule with this id, or in one of the farm of this name."""
    if callable(target):
        return _mule_function(target, None)
    return lambda function: _mule_function(function, target)


def _mule_function(function, target):
    name = function.__name__
    _mule_functions[name] = function
    uwsgi.mule_msg_hook = _call_mule_function
    where = () if target is None else (target,)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        import pickle

        call = {"service": _SERVICE, "func": name, "args": args, "kwargs": kwargs}
        return uwsgi.mule_msg(pickle.dumps(call), *where)

    return wrapper


def __getattr__(name):
    if name in _ABSENT:
        raise AttributeError(f"uwsgidecorators.{name} is not available in ruwsgi: {_ABSENT[name]}")
    if name.startswith("__"):
        raise AttributeError(f"module 'uwsgidecorators' has no attribute '{name}'")
    raise AttributeError(f"uwsgidecorators.{name} is not available in ruwsgi")
