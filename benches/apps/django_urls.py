"""URLs in a separate file, as in every project: Django imports it at the first request."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
