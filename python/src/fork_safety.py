"""Describes what does not survive a fork. Runs in the zygote if it has more than one thread after the import."""


def threads():
    """Describes each thread but the main one: its name, its function, and where that is defined."""
    import threading

    descriptions = []
    for thread in threading.enumerate():
        if thread is threading.main_thread():
            continue
        target = getattr(thread, "_target", None) or type(thread).run
        # a partial, a bound method
        target = getattr(target, "func", target)
        name = getattr(target, "__qualname__", type(target).__name__)
        code = getattr(getattr(target, "__func__", target), "__code__", None)
        place = " at %s:%d" % (code.co_filename, code.co_firstlineno) if code else ""
        descriptions.append("the thread %s (%s%s)" % (thread.name, name, place))
    return descriptions


def locks():
    """Describes each held lock that is an attribute of a module or of an object in a module."""
    import _thread
    import sys

    kinds = (_thread.LockType, _thread.RLock)
    own = ("threading", "_thread", "importlib._bootstrap")
    descriptions = []
    for module_name, module in list(sys.modules.items()):
        names = getattr(module, "__dict__", None)
        if type(names) is not dict or module_name in own:
            continue
        for name, value in list(names.items()):
            found = [(name, value)]
            inner = getattr(value, "__dict__", None) if type(value).__module__ == module_name else None
            if type(inner) is dict:
                found += [("%s.%s" % (name, attribute), it) for attribute, it in list(inner.items())]
            for path, it in found:
                # both kinds have this repr, in every version of Python
                if isinstance(it, kinds) and repr(it).startswith("<locked"):
                    descriptions.append("the lock %s.%s, which is held" % (module_name, path))
    return sorted(set(descriptions))[:10]


def describe():
    return threads() + locks()
