"""Tokens in the admin: a secret is shown once and stored as a hash."""

import re
from collections.abc import Mapping

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from echo.models import Token

SHOWN = re.compile(r"(\d+\.[\w-]{43})")
FORM = {"name": "ci", "topics": "news.* logs", "owner": "", "is_active": "on"}


def add_token(client: Client, fields: Mapping[str, str] = FORM) -> str:
    """Add a token in the admin; return the page that follows."""
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
def test_an_invalid_topic_of_a_token_is_refused(
    admin_client: Client, topics: str
) -> None:
    page = add_token(admin_client, FORM | {"topics": topics})
    assert "topic: expected words of A-Z a-z 0-9" in page
    assert not Token.objects.exists()
