import sentry_sdk
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

import recorder

# the check of the threads runs only with a feature that needs them
sentry_sdk.init("http://key@127.0.0.1:9/1", enable_logs=True)


def application(environ, start_response):
    return recorder.respond(start_response, version=sentry_sdk.VERSION)


application = SentryWsgiMiddleware(application)
