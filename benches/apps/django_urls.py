"""In a file of its own, as in every project: Django reads it at the first request."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
