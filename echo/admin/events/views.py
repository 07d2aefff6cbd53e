"""The pages beside Django's own for events: publishing, its previews, and the receipt."""

from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.contrib.admin import site
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from echo import feed
from echo.admin.events.form import PublishForm, republish_fields
from echo.admin.events.receipt import Summary, summarize
from echo.admin.formats import format_time
from echo.admin.survey import caveats, count_readers, survey
from echo.feed import cluster
from echo.models import Event, Log, Topic
from echo.protocol import MAX_DATA_BYTES, EventId, FeedError, check_topic

VIEW, PUBLISH = "echo.view_event", "echo.add_event"
SUGGESTED_TOPICS = 50

may_view = permission_required(VIEW, raise_exception=True)
may_publish = permission_required(PUBLISH, raise_exception=True)


def latest_topics(count: int) -> list[str]:
    """Return the topics with the latest events, without reading the events themselves."""
    names = Topic.objects.order_by("-last_number").values_list("name", flat=True)
    return list(names[:count])


def event_id(event: Event) -> EventId:
    """Return the event's id in the current epoch of the log."""
    return EventId(Log.objects.values_list("epoch", flat=True).get(), event.number)


def render(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """Return a response with one of the templates of events."""
    shared = site.each_context(request) | {
        "opts": Event._meta,
        "has_view_permission": request.user.has_perm(VIEW),
        "has_add_permission": request.user.has_perm(PUBLISH),
    }
    template = f"admin/echo/event/{name}.html"
    return TemplateResponse(request, template, shared | context)


# --- publishing ------------------------------------------------------------------------


@may_publish
def publish(request: HttpRequest) -> HttpResponse:
    """Show the form; publish what it sends, and redirect to the receipt."""
    if request.method != "POST":
        return render_form(request, PublishForm(initial=initial(request)))
    form = PublishForm(request.POST)
    if not form.is_valid():
        return render_form(request, form)
    return redirect_after(request, publish_form(request, form))


def initial(request: HttpRequest) -> dict[str, str]:
    """Return the topic in the URL, or topic and data of the event to publish again."""
    if not (again := request.GET.get("again")):
        return {"topic": topic} if (topic := request.GET.get("topic")) else {}
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    if (event := find_event(again)) is not None:
        return republish_fields(event)
    text = _("Event %(number)s is no longer in the log.")
    messages.warning(request, text % {"number": again[:30]})
    return {}


def find_event(number: str) -> Event | None:
    """Return the event with this number, or None if it is gone or the number is none."""
    try:
        return Event.objects.filter(pk=int(number)).first()
    except ValueError:
        return None


def render_form(request: HttpRequest, form: PublishForm) -> HttpResponse:
    """Return the form, with the latest topics as suggestions."""
    topics = latest_topics(SUGGESTED_TOPICS)
    counted = count_readers(topics)
    is_complete = not caveats(counted)
    context = {
        "title": _("Publish an event"),
        "form": form,
        "topics": [
            (name, readers_text(counted.result[name], is_complete=is_complete))
            for name in topics
        ],
        "max_bytes": MAX_DATA_BYTES,
    }
    return render(request, "publish", context)


@transaction.atomic
def publish_form(request: HttpRequest, form: PublishForm) -> feed.Published:
    """Publish the form's event in the operator's name, and log the action with it."""
    published = feed.publish(
        form.cleaned_data["topic"],
        form.cleaned_data["value"],
        key=form.event_key,
        source=Event.Source.ADMIN,
        author=request.user.get_username(),
    )
    if not published.duplicate:
        event = Event.objects.get(pk=EventId.parse(published.id).number)
        model_admin = site.get_model_admin(Event)
        model_admin.log_addition(request, event, [{"added": {}}])
    return published


def redirect_after(request: HttpRequest, published: feed.Published) -> HttpResponse:
    """Redirect to the receipt, or show the id to users who may not see receipts."""
    sees_receipt = request.user.has_perm(VIEW)
    if published.duplicate:
        text = _("This form was already sent: it published %(id)s, once.")
        messages.warning(request, text % {"id": published.id})
    elif not sees_receipt:
        messages.success(request, _("Published as %(id)s.") % {"id": published.id})
    if not sees_receipt:
        return redirect("admin:echo_event_add")
    return redirect("admin:echo_event_receipt", EventId.parse(published.id).number)


# --- what the form shows while somebody types ------------------------------------------


@require_safe
@may_publish
def readers(request: HttpRequest) -> HttpResponse:
    """Return how many connections read a topic now, or what is wrong with the topic."""
    try:
        topic = check_topic(request.GET.get("topic", ""))
    except FeedError as error:
        return JsonResponse({"readers": None, "text": str(error)})
    counted = count_readers([topic])
    count, missing = counted.result[topic], caveats(counted)
    text = readers_text(count, is_complete=not missing)
    return JsonResponse({"readers": count, "text": " · ".join([text, *missing])})


def readers_text(count: int, *, is_complete: bool) -> str:
    """Return how many connections read a topic; "at least" if nodes are missing."""
    if is_complete:
        text = ngettext(
            "%(count)s connection reads this now",
            "%(count)s connections read this now",
            count,
        )
    else:
        text = ngettext(
            "At least %(count)s connection reads this now",
            "At least %(count)s connections read this now",
            count,
        )
    return text % {"count": count}


@require_POST
@may_publish
def preview(request: HttpRequest) -> HttpResponse:
    """Return the form's errors, the data's size and the frame, and publish nothing."""
    form = PublishForm(request.POST)
    form.is_valid()
    return JsonResponse(asdict(form.preview))


# --- the receipt -----------------------------------------------------------------------


@require_safe
@may_view
def receipt(request: HttpRequest, number: int) -> HttpResponse:
    """Return the receipt's page, which polls ``receipt_now`` until the result is final."""
    event = get_object_or_404(Event, pk=number)
    context = {
        "title": _("Receipt"),
        "event": event,
        "id": event_id(event),
        "sent_at": format_time(event.sent_at),
        "size": len(event.data.encode()),
        "receipt": survey_receipt(event),
    }
    return render(request, "receipt", context)


@require_safe
@may_view
def receipt_now(request: HttpRequest, number: int) -> HttpResponse:
    """Return the receipt as JSON."""
    event = get_object_or_404(Event, pk=number)
    return JsonResponse(asdict(survey_receipt(event)))


def survey_receipt(event: Event) -> Summary:
    """Return the receipt of an event as of now."""
    return summarize(event, survey(cluster.GetReceipt(str(event_id(event)))))
