"""Adding an event is publishing it: the form, what it says while somebody types, the receipt."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from echo import feed
from echo.admin.events import receipt as receipts
from echo.admin.events.form import PublishForm, fields_again
from echo.admin.survey import ask, unheard
from echo.models import Event, Log, Topic
from echo.protocol import MAX_DATA_BYTES, EventId, FeedError, check_topic

SUGGESTED_TOPICS = 50


def latest_topics(count: int) -> list[str]:
    """The topics that had events lately, the latest first: no look at the log itself."""
    names = Topic.objects.order_by("-last_number").values_list("name", flat=True)
    return list(names[:count])


def event_id(event: Event) -> EventId:
    """The event's id in this life of the log."""
    return EventId(Log.objects.values_list("epoch", flat=True).get(), event.number)


def exact_time(moment: datetime) -> str:
    """The site's own time to the millisecond: many events share a minute."""
    shown = localtime(moment).replace(tzinfo=None)
    return shown.isoformat(sep=" ", timespec="milliseconds")


def readers_text(count: int, *, is_all: bool) -> str:
    """How many read a topic; the least there are, where not all nodes were heard."""
    if is_all:
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


class Publishing(admin.ModelAdmin):
    """The part of the events' admin that publishes."""

    def get_urls(self) -> list[URLPattern]:
        def own(route: str, view: Any) -> URLPattern:
            name = f"echo_event_{view.__name__}"
            return path(route, self.admin_site.admin_view(view), name=name)

        return [
            own("readers/", self.readers),
            own("preview/", self.preview),
            own("<int:number>/receipt/", self.receipt),
            own("<int:number>/receipt/now/", self.receipt_now),
            *super().get_urls(),
        ]

    def page(
        self, request: HttpRequest, name: str, context: dict[str, Any]
    ) -> HttpResponse:
        """A page of the events' own, in the admin's frame."""
        shared = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "media": self.media,
            "has_view_permission": self.has_view_permission(request),
            "has_add_permission": self.has_add_permission(request),
        }
        request.current_app = self.admin_site.name
        template = f"admin/echo/event/{name}.html"
        return TemplateResponse(request, template, shared | context)

    # --- the form ----------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The form, and what it sends: an event that goes out with the COMMIT."""
        self.refuse_unless(self.has_add_permission(request))
        if request.method != "POST":
            return self.show_form(request, PublishForm(initial=self.initial(request)))
        form = PublishForm(request.POST)
        if not form.is_valid():
            return self.show_form(request, form)
        return self.published(request, self.publish(request, form))

    def refuse_unless(self, is_allowed: bool) -> None:
        if not is_allowed:
            raise PermissionDenied

    def initial(self, request: HttpRequest) -> dict[str, Any]:
        """The topic that was asked for, or all of the event that is to go out again."""
        if not (again := request.GET.get("again")):
            return {"topic": topic} if (topic := request.GET.get("topic")) else {}
        self.refuse_unless(self.has_view_permission(request))
        if (event := self.get_object(request, again)) is not None:
            return fields_again(event)
        text = _("Event %(number)s is not in the log any more.")
        self.message_user(request, text % {"number": again[:30]}, messages.WARNING)
        return {}

    def show_form(self, request: HttpRequest, form: PublishForm) -> HttpResponse:
        """The form, with the topics of late to choose from."""
        topics = latest_topics(SUGGESTED_TOPICS)
        answer = ask(feed.CountReaders(tuple(topics)))
        counts, is_all = answer.result, not unheard(answer)
        context = {
            "title": _("Publish an event"),
            "form": form,
            "topics": [
                (name, readers_text(counts[name], is_all=is_all)) for name in topics
            ],
            "max_bytes": MAX_DATA_BYTES,
        }
        return self.page(request, "publish", context)

    @transaction.atomic
    def publish(self, request: HttpRequest, form: PublishForm) -> feed.Published:
        """Publishes in the operator's name, and notes it among the admin's actions."""
        author = request.user.get_username()
        source = Event.Source.ADMIN
        done = feed.publish(**form.event, source=source, author=author)
        if not done.duplicate:
            event = Event.objects.get(pk=EventId.parse(done.id).number)
            self.log_addition(request, event, [{"added": {}}])
        return done

    def published(self, request: HttpRequest, done: feed.Published) -> HttpResponse:
        """The way to the receipt; those who may not see it are told the id."""
        may_view = self.has_view_permission(request)
        if done.duplicate:
            text = _("This form had been sent before. It has published %(id)s, once.")
            self.message_user(request, text % {"id": done.id}, messages.WARNING)
        elif not may_view:
            text = _("Published as %(id)s.")
            self.message_user(request, text % {"id": done.id}, messages.SUCCESS)
        if not may_view:
            return redirect("admin:echo_event_add")
        return redirect("admin:echo_event_receipt", EventId.parse(done.id).number)

    # --- while somebody types ----------------------------------------------------------

    @method_decorator(require_safe)
    def readers(self, request: HttpRequest) -> HttpResponse:
        """How many read a topic now, in words; or what a topic is expected to be."""
        self.refuse_unless(self.has_add_permission(request))
        try:
            topic = check_topic(request.GET.get("topic", ""))
        except FeedError as error:
            return JsonResponse({"readers": None, "text": str(error)})
        answer = ask(feed.CountReaders((topic,)))
        count, gaps = answer.result[topic], unheard(answer)
        text = " · ".join([readers_text(count, is_all=not gaps), *gaps])
        return JsonResponse({"readers": count, "text": text})

    @method_decorator(require_POST)
    def preview(self, request: HttpRequest) -> HttpResponse:
        """The form's errors, the data's size and the frame, as publishing would find them."""
        self.refuse_unless(self.has_add_permission(request))
        form = PublishForm(request.POST)
        form.is_valid()
        return JsonResponse(form.preview)

    # --- the receipt -------------------------------------------------------------------

    @method_decorator(require_safe)
    def receipt(self, request: HttpRequest, number: int) -> HttpResponse:
        """What became of an event: the page, which asks for ``receipt_now`` again and again."""
        self.refuse_unless(self.has_view_permission(request))
        event = get_object_or_404(Event, pk=number)
        context = {
            "title": _("Receipt"),
            "event": event,
            "id": event_id(event),
            "sent_at": exact_time(event.sent_at),
            "size": len(event.data.encode()),
            "receipt": self.words(event),
        }
        return self.page(request, "receipt", context)

    @method_decorator(require_safe)
    def receipt_now(self, request: HttpRequest, number: int) -> HttpResponse:
        """The receipt's words and numbers, as JSON."""
        self.refuse_unless(self.has_view_permission(request))
        return JsonResponse(self.words(get_object_or_404(Event, pk=number)))

    def words(self, event: Event) -> dict[str, Any]:
        answer = ask(feed.GetReceipt(str(event_id(event))))
        return receipts.words(event, answer)
