"""The admin of the feed: tokens are shown once, events are only looked at."""

import re
from collections.abc import Mapping

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from echo.feed import publish
from echo.models import Event, Token, Topic

SHOWN = re.compile(r"(\d+\.[\w-]{43})")
FORM = {"name": "ci", "topics": "news.* logs", "owner": "", "is_active": "on"}


def add_token(client: Client, fields: Mapping[str, str] = FORM) -> str:
    """Adds a token in the admin; the page that follows."""
    response = client.post("/admin/echo/token/add/", fields, follow=True)
    return response.content.decode()


def test_a_new_tokens_secret_is_shown_once_and_stored_as_a_hash(
    admin_client: Client,
) -> None:
    page = add_token(admin_client)
    shown = SHOWN.search(page)
    assert shown is not None
    identity, _, secret = shown[1].partition(".")
    token = Token.objects.get(pk=identity)
    assert token.accepts(secret)
    assert secret not in token.secret_hash
    again = admin_client.get(f"/admin/echo/token/{identity}/change/").content.decode()
    assert secret not in again


def test_saving_a_token_again_keeps_its_secret(admin_client: Client) -> None:
    add_token(admin_client)
    token = Token.objects.get()
    page = admin_client.post(
        f"/admin/echo/token/{token.pk}/change/", FORM | {"name": "renamed"}, follow=True
    )
    assert not SHOWN.search(page.content.decode())
    assert Token.objects.get().secret_hash == token.secret_hash


def test_a_renewed_secret_is_shown_and_the_old_one_is_refused(
    admin_client: Client,
) -> None:
    add_token(admin_client)
    before = Token.objects.get()
    action = {"action": "renew", "_selected_action": [str(before.pk)]}
    page = admin_client.post("/admin/echo/token/", action, follow=True).content.decode()
    shown = SHOWN.search(page)
    assert shown is not None
    after = Token.objects.get()
    assert after.accepts(shown[1].partition(".")[2])
    assert after.secret_hash != before.secret_hash
    assert LogEntry.objects.filter(change_message="secret renewed").count() == 1


@pytest.mark.parametrize("topics", ["news..eu", "*.news", "<b>"])
def test_a_tokens_topics_are_judged_as_the_feeds(
    admin_client: Client, topics: str
) -> None:
    page = add_token(admin_client, FORM | {"topics": topics})
    assert "topic: expected words of A-Z a-z 0-9" in page
    assert not Token.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_events_are_looked_at_and_not_changed(admin_client: Client) -> None:
    publish("news", "<script>alert(1)</script>")
    page = admin_client.get("/admin/echo/event/").content.decode()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    event = Event.objects.get()
    assert admin_client.get(f"/admin/echo/event/{event.pk}/change/").status_code == 200
    assert admin_client.post(f"/admin/echo/event/{event.pk}/change/").status_code == 403
    assert admin_client.post(f"/admin/echo/event/{event.pk}/delete/").status_code == 403
    assert admin_client.get("/admin/echo/event/add/").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_topics_retention_may_be_changed(admin_client: Client) -> None:
    publish("news", 1)
    answer = admin_client.post(
        "/admin/echo/topic/news/change/",
        {"retention_seconds": "60", "retention_events": ""},
    )
    assert answer.status_code == 302
    topic = Topic.objects.get()
    assert (topic.retention_seconds, topic.retention_events) == (60, None)
    assert topic.last_number == 1
