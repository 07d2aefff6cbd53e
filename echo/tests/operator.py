"""The site's URLs, and some by which a test ends connections, counts tasks, changes people."""

import asyncio

from django.contrib.auth.models import User
from django.http import HttpRequest, JsonResponse
from django.test import Client
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


def person(request: HttpRequest) -> JsonResponse:
    """Makes a member of staff who is signed in: the id and the session's cookie."""
    user = User.objects.create_user(request.GET["name"], is_staff=True)
    client = Client()
    client.force_login(user)
    session = client.cookies["sessionid"].value
    return JsonResponse({"id": user.pk, "cookie": f"sessionid={session}"})


def change(request: HttpRequest) -> JsonResponse:
    """Changes a user by the name of the change; ``silently`` tells no signal."""
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


urlpatterns = [
    path("end", end),
    path("tasks", tasks),
    path("person", person),
    path("change", change),
    *site,
]
