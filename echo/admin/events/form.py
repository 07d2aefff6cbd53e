"""The form that publishes an event; validated by the feed's rules, with its error texts."""

import json
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from echo.feed import Event as WireEvent
from echo.feed import encode_data
from echo.models import Event
from echo.protocol import DEFAULT_TOPIC, FeedError, check_topic

# A textarea changes the one, and a form cannot send the other.
UNTYPABLE = frozenset("\r\0")


def new_key() -> str:
    """Return a key for one rendered form: sent twice, it publishes once."""
    return f"admin-{secrets.token_urlsafe(12)}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What the form shows while somebody types: errors by field, else size and frame."""

    errors: dict[str, list[str]]
    size: int | None = None
    frame: str | None = None


class PublishForm(forms.Form):
    """One event to publish; its cleaned ``value`` is the data, ``wire`` the data as JSON."""

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
        """Return the text as it was typed: HTML forms send line ends as CRLF."""
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
    def event_key(self) -> str:
        """The event's key: the same form sent again is a duplicate, a changed one is not."""
        digest = sha256(self.cleaned_data["wire"].encode()).hexdigest()
        return f"{self.cleaned_data['key']}-{digest[:16]}"

    @property
    def preview(self) -> Preview:
        """What publishing this form would find."""
        errors = {name: [*map(str, found)] for name, found in self.errors.items()}
        wire = self.cleaned_data.get("wire")
        if wire is None:
            return Preview(errors)
        frame = preview_frame(self.cleaned_data.get("topic", "…"), wire)
        return Preview(errors, len(wire.encode()), frame)


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; raise ValidationError with line and column."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise forms.ValidationError(
            _("Not JSON: line %(line)s, column %(column)s: %(problem)s"),
            params={"line": error.lineno, "column": error.colno, "problem": error.msg},
        ) from None
    except (ValueError, RecursionError) as error:  # too long or too deep for Python
        raise forms.ValidationError(
            _("Not JSON that can be read: %(problem)s"), params={"problem": error}
        ) from None


def preview_frame(topic: str, wire: str) -> str:
    """Return the frame as readers get it, with … for what only the COMMIT decides."""
    frame = WireEvent("", 0, topic, 0, "…", wire).json
    # The first two are id and previous, which stand before the data.
    return frame.replace('"-0"', '"…"', 2)


def republish_fields(event: Event) -> dict[str, str]:
    """Return the form's fields that publish the same topic and data once more."""
    try:
        value = json.loads(event.data)
        text = json.dumps(value, ensure_ascii=False, indent=2)
    except RecursionError:  # too deep for Python to read or write
        return {"topic": event.topic, "format": "json", "data": event.data}
    if isinstance(value, str) and UNTYPABLE.isdisjoint(value):
        return {"topic": event.topic, "format": "text", "data": value}
    return {"topic": event.topic, "format": "json", "data": text}
