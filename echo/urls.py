"""The HTTP URLs; the WebSocket ones are in routing.py."""

from django.urls import path

from echo.views.echo import echo_endpoint
from echo.views.pages import console

urlpatterns = [
    path("", console, name="console"),
    path("echo", echo_endpoint, name="echo"),
]
