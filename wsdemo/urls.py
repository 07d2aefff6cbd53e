"""The root of Django's URLs: the site, the admin and the choice of language."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("echo.urls")),
]
