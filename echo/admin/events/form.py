"""The form that publishes an event, judged by the feed's own rules and in its words."""

import json
import secrets
from hashlib import sha256
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from echo.feed import Event as WireEvent
from echo.feed import encode_data
from echo.models import Event
from echo.protocol import DEFAULT_TOPIC, FeedError, check_topic

Fields = dict[str, Any]
# What a textarea sends back as something else, or a form not at all.
UNTYPABLE = frozenset("\r\0")


def new_key() -> str:
    """The name of one rendered form, by which it publishes once however often it comes."""
    return f"admin-{secrets.token_urlsafe(12)}"


class PublishForm(forms.Form):
    """One event to publish. ``value`` is its data, ``wire`` that data as it will travel."""

    topic = forms.CharField(
        label=_("Topic"),
        initial=DEFAULT_TOPIC,
        widget=forms.TextInput(
            {
                "class": "vTextField",
                "list": "known-topics",
                "autocomplete": "off",
                "autocapitalize": "off",
                "spellcheck": "false",
                "aria-describedby": "readers",
            }
        ),
    )
    format = forms.ChoiceField(
        label=_("Format"),
        initial="text",
        choices=[("text", _("Text")), ("json", "JSON")],
        widget=forms.RadioSelect,
    )
    data = forms.CharField(  # type: ignore[assignment]
        label=_("Data"),
        required=False,
        strip=False,
        widget=forms.Textarea(
            {"class": "wire", "rows": 8, "spellcheck": "false", "autocomplete": "off"}
        ),
    )
    key = forms.CharField(initial=new_key, max_length=100, widget=forms.HiddenInput)

    def clean_topic(self) -> str:
        try:
            return check_topic(self.cleaned_data["topic"])
        except FeedError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_data(self) -> str:
        """The text as it was typed: a form's line ends are its own."""
        return str(self.cleaned_data["data"]).replace("\r\n", "\n")

    def clean(self) -> None:
        text, chosen = self.cleaned_data.get("data"), self.cleaned_data.get("format")
        if text is None or chosen is None:
            return
        try:
            value = parse_json(text) if chosen == "json" else text
            self.cleaned_data |= {"value": value, "wire": encode_data(value)}
        except FeedError as error:
            self.add_error("data", str(error))
        except forms.ValidationError as error:
            self.add_error("data", error)

    @property
    def event(self) -> Fields:
        """What is published. Sent again, the form is a duplicate; changed, it is not."""
        digest = sha256(self.cleaned_data["wire"].encode()).hexdigest()
        return {
            "topic": self.cleaned_data["topic"],
            "data": self.cleaned_data["value"],
            "key": f"{self.cleaned_data['key']}-{digest[:16]}",
        }

    @property
    def preview(self) -> Fields:
        """What the form would say of itself, for the page to show while somebody types."""
        errors = {name: list(found) for name, found in self.errors.items()}
        wire = self.cleaned_data.get("wire")
        if wire is None:
            return {"errors": errors, "size": None, "frame": None}
        frame = open_frame(self.cleaned_data.get("topic", "…"), wire)
        return {"errors": errors, "size": len(wire.encode()), "frame": frame}


def parse_json(text: str) -> Any:
    """The value of a JSON text; an error that names the line and column of a mistake."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise forms.ValidationError(
            _("Not JSON: line %(line)s, column %(column)s: %(problem)s"),
            params={"line": error.lineno, "column": error.colno, "problem": error.msg},
        ) from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # longer, or deeper, than Python takes
        raise forms.ValidationError(
            _("Not JSON that can be read: %(problem)s"), params={"problem": error}
        ) from None


def open_frame(topic: str, wire: str) -> str:
    """The frame as it will go over the wire; what only the COMMIT decides is left open."""
    frame = WireEvent("", 0, topic, 0, "…", wire).json
    return frame.replace(
        '"-0"', '"…"', 2
    )  # id and previous, which stand before the data


def fields_again(event: Event) -> Fields:
    """The form's fields that publish the same topic and data once more."""
    try:
        value = json.loads(event.data)
        text = json.dumps(value, ensure_ascii=False, indent=2)
    except RecursionError:  # deeper than Python reads, or writes
        return {"topic": event.topic, "format": "json", "data": event.data}
    if isinstance(value, str) and UNTYPABLE.isdisjoint(value):
        return {"topic": event.topic, "format": "text", "data": value}
    return {"topic": event.topic, "format": "json", "data": text}
