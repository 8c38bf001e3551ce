import ldclient
import uwsgidecorators
from ldclient.config import Config

import recorder

ldclient.set_config(Config("sdk-key", offline=True))
client = ldclient.get()


@uwsgidecorators.postfork
def restart():
    client.postfork()


def application(environ, start_response):
    return recorder.respond(start_response, initialized=client.is_initialized())
