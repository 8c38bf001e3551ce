import os

from django.contrib import admin
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def hello(request):
    return HttpResponse("hello from Django")


def count(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


@csrf_exempt
def upload(request):
    return HttpResponse(str(sum(len(chunk) for chunk in request.FILES["file"].chunks())))


def stream(request):
    return StreamingHttpResponse(b"s" * 1000 for _ in range(1000))


def whoami(request):
    return HttpResponse("%d %d" % (os.getuid(), os.getgid()))


def fail(request):
    1 / 0


urlpatterns = [
    path("", hello),
    path("count/", count),
    path("upload/", upload),
    path("stream/", stream),
    path("whoami/", whoami),
    path("fail/", fail),
    path("admin/", admin.site.urls),
]
