"""The HTTP URLs; the WebSocket ones are in routing.py."""

from django.urls import path

from echo.views.echo import echo_endpoint

urlpatterns = [
    path("echo", echo_endpoint, name="echo"),
]
