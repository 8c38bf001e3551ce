"""A typical Django page: the default middleware, a view, a template with a loop; DEBUG is off."""

from django.conf import settings
from django.shortcuts import render
from django.urls import path

PAGE = """<!DOCTYPE html>
<title>{{ title }}</title>
<h1>{{ title|upper }}</h1>
<ul>{% for entry in entries %}<li class="{% cycle 'odd' 'even' %}">{{ entry.number }}: {{ entry.text }}</li>{% endfor %}</ul>
"""
ENTRIES = [{"number": number, "text": f"entry <{number}>"} for number in range(20)]


def page(request):
    return render(request, "page.html", {"title": "Entries", "entries": ENTRIES})


TEMPLATES = ("django.template.loaders.locmem.Loader", {"page.html": PAGE})
settings.configure(
    SECRET_KEY="of a bench, known to everybody",
    DEBUG=False,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=(path("", page),),
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.cached.Loader", [TEMPLATES])]},
        }
    ],
    USE_TZ=True,
)

from django.core.wsgi import get_wsgi_application  # noqa: E402 (needs the settings)

application = get_wsgi_application()
