"""As app.py, with Django's cache in the name `cache`."""
from urllib.parse import unquote

from django.conf import settings

settings.configure(
    CACHES={
        "default": {"BACKEND": "ruwsgi.django.Cache", "LOCATION": "first"},
        "small": {"BACKEND": "ruwsgi.django.Cache", "LOCATION": "small"},
    }
)

from django.core.cache import cache, caches  # noqa: E402


def application(environ, start_response):
    try:
        names = {"cache": cache, "caches": caches}
        result = eval(unquote(environ["QUERY_STRING"]), names)
    except Exception as error:
        result = type(error).__name__
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(result).encode()]
