import atexit

from ddtrace.internal import uwsgi as check

import recorder

registers = check.should_register_atexit()
check.check_uwsgi(lambda: None, atexit=lambda: None)


def application(environ, start_response):
    return recorder.respond(start_response, registers_atexit=registers)
