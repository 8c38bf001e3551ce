import newrelic.agent
import newrelic.core.agent

import recorder

newrelic.agent.initialize()
# checks uWSGI, and is otherwise called by the first request
newrelic.core.agent.agent_instance()


def application(environ, start_response):
    return recorder.respond(start_response, environment=dict(environment()))


def environment():
    from newrelic.core.environment import environment_settings

    for name, value in environment_settings():
        if name.startswith("Dispatcher"):
            yield name, value.decode() if isinstance(value, bytes) else value


application = newrelic.agent.WSGIApplicationWrapper(application)
