"""The site's URLs, and one by which a test ends connections as an operator would."""

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


urlpatterns = [path("end", end), *site]
