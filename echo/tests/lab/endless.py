"""The site's settings and URLs, with an experiment that ends only when its visitor goes."""

import asyncio
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path

from wsdemo.settings import *  # noqa: F403

ROOT_URLCONF = "echo.tests.lab.endless"

AN_HOUR = 3600.0


async def endless(request: HttpRequest) -> HttpResponse:
    from echo.lab import loopback

    async with loopback.connect(scope_of(request), AN_HOUR) as connection:
        await loopback.open_websocket(connection)
        await asyncio.Event().wait()
    raise AssertionError("unreachable")


def scope_of(request: Any) -> Any:
    return request.scope


urlpatterns = [path("endless", endless)]
