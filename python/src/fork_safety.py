"""What does not survive a fork: run in the zygote, when it has more than one thread after the import."""


def threads():
    """Each thread beside the main one: its name, what it runs, and where that is written."""
    import threading

    told = []
    for thread in threading.enumerate():
        if thread is threading.main_thread():
            continue
        target = getattr(thread, "_target", None) or type(thread).run
        # a partial, a bound method
        target = getattr(target, "func", target)
        name = getattr(target, "__qualname__", type(target).__name__)
        code = getattr(getattr(target, "__func__", target), "__code__", None)
        place = " at %s:%d" % (code.co_filename, code.co_firstlineno) if code else ""
        told.append("the thread %s (%s%s)" % (thread.name, name, place))
    return told


def locks():
    """Each lock that is held and that a module, or what stands in a module, has by a name."""
    import _thread
    import sys

    kinds = (_thread.LockType, _thread.RLock)
    own = ("threading", "_thread", "importlib._bootstrap")
    told = []
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
                # the text tells of both kinds, in every version
                if isinstance(it, kinds) and repr(it).startswith("<locked"):
                    told.append("the lock %s.%s, which is held" % (module_name, path))
    return sorted(set(told))[:10]


def describe():
    return threads() + locks()
