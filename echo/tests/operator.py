"""The site's URLs, and more for tests: end connections, count, publish, change users, fail."""

import asyncio

from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path

from echo.feed import apublish, survey
from echo.feed.cluster import CountReaders, EndConnections, GetReceipt, ListConnections
from echo.models import Event
from wsdemo.urls import urlpatterns as site


async def end(request: HttpRequest) -> JsonResponse:
    """End all readers of the topic with the code and the reason; return their number."""
    given = request.GET
    question = EndConnections(
        int(given["code"]), given["reason"], ListConnections(search=given["topic"])
    )
    answer = await survey(question)
    return JsonResponse({"ended": answer.result.count})


async def publish_in_admin(request: HttpRequest) -> JsonResponse:
    """Publish as the admin does, so that each delivery is counted."""
    published = await apublish(request.GET["topic"], 1, source=Event.Source.ADMIN)
    return JsonResponse({"id": published.id})


async def readers(request: HttpRequest) -> JsonResponse:
    """Return the number of connections that read a topic."""
    topic = request.GET["topic"]
    counts = (await survey(CountReaders((topic,)))).result
    return JsonResponse({"readers": counts[topic]})


async def deliveries(request: HttpRequest) -> JsonResponse:
    """Return the number of connections that an event has been sent to."""
    receipt = (await survey(GetReceipt(request.GET["id"]))).result
    return JsonResponse({"delivered": receipt.delivered})


async def tasks(request: HttpRequest) -> JsonResponse:
    """Return the number of tasks in the server's event loop, this request's included."""
    return JsonResponse({"tasks": len(asyncio.all_tasks())})


def person(request: HttpRequest) -> JsonResponse:
    """Create a signed-in member of staff; return the id and the session's cookie."""
    user = User.objects.create_user(request.GET["name"], is_staff=True)
    client = Client()
    client.force_login(user)
    session = client.cookies["sessionid"].value
    return JsonResponse({"id": user.pk, "cookie": f"sessionid={session}"})


def change(request: HttpRequest) -> JsonResponse:
    """Change a user; a change that is ``silently`` made sends no signal."""
    user = User.objects.get(pk=request.GET["id"])
    match request.GET["change"]:
        case "demoted":
            user.is_staff = False
            user.save()
        case "demoted silently":
            User.objects.filter(pk=user.pk).update(is_staff=False)
        case "signed in again":
            user.save(update_fields=["last_login"])
        case "inactive":
            user.is_active = False
            user.save()
        case "deleted":
            user.delete()
        case "new password":
            user.set_password("another")
            user.save()
        case unknown:
            raise ValueError(unknown)
    return JsonResponse({})


def fail(request: HttpRequest, status: int) -> JsonResponse:
    """Raise what Django makes the status's page of."""
    raise {400: BadRequest, 403: PermissionDenied, 500: RuntimeError}[status]


urlpatterns = [
    path("end", end),
    path("publish-in-admin", publish_in_admin),
    path("readers", readers),
    path("deliveries", deliveries),
    path("tasks", tasks),
    path("person", person),
    path("change", change),
    path("fail/<int:status>", fail),
    *site,
]
