"""The site's URLs, one to end connections as an operator would, one to count tasks."""

import asyncio

from django.http import HttpRequest, JsonResponse
from django.urls import path

from echo.feed import Census, End, ask
from wsdemo.urls import urlpatterns as site


async def end(request: HttpRequest) -> JsonResponse:
    """Ends whoever reads the topic, with the code and the reason given."""
    given = request.GET
    question = End(int(given["code"]), given["reason"], Census(search=given["topic"]))
    answer = await ask(question)
    return JsonResponse({"ended": answer["ended"]})


async def tasks(request: HttpRequest) -> JsonResponse:
    """How many tasks the server's event loop has, this request's own among them."""
    return JsonResponse({"tasks": len(asyncio.all_tasks())})


urlpatterns = [path("end", end), path("tasks", tasks), *site]
