"""System checks: each names the invalid setting and the remedy."""

from typing import Any

import pytest
from django import conf
from django.core.checks import CheckMessage, run_checks

POSTGRES = "django.db.backends.postgresql"
SQLITE = "django.db.backends.sqlite3"


def found(identity: str) -> list[CheckMessage]:
    return [message for message in run_checks() if message.id == identity]


def test_the_settings_as_they_come_have_nothing_wrong() -> None:
    assert [
        message for message in run_checks() if str(message.id).startswith("echo")
    ] == []


@pytest.mark.parametrize(
    "name",
    [
        "ECHO_MAX_MESSAGE_BYTES",
        "ECHO_MAX_CONNECTIONS",
        "WRITE_TIMEOUT_SECONDS",
        "FEED_HEARTBEAT_SECONDS",
        "FEED_SSE_LIFETIME_SECONDS",
        "FEED_WEBSOCKET_LIFETIME_SECONDS",
        "FEED_JUDGE_SECONDS",
        "FEED_RETENTION_EVENTS",
        "FEED_MAX_CONNECTIONS_PER_ADDRESS",
        "FEED_PUBLISHES_PER_SECOND",
    ],
)
def test_a_limit_must_be_above_zero(settings: Any, name: str) -> None:
    setattr(settings, name, 0)
    (message,) = found("echo.E001")
    assert message.msg == f"{name} is 0."
    assert name in str(message.hint)


@pytest.mark.parametrize(
    "name", ["FEED_HEARTBEAT_SECONDS", "FEED_SSE_HEARTBEAT_SECONDS"]
)
def test_a_heartbeat_must_come_before_a_proxy_gives_up(
    settings: Any, name: str
) -> None:
    setattr(settings, name, 60.0)
    (message,) = found("echo.W001")
    assert message.hint == f"Set {name} below 60."
    setattr(settings, name, 59.0)
    assert found("echo.W001") == []


@pytest.mark.parametrize("name", ["ECHO_MAX_CONNECTIONS", "FEED_MAX_CONNECTIONS"])
def test_an_address_cannot_have_more_connections_than_the_process(
    settings: Any, name: str
) -> None:
    setattr(settings, f"{name}_PER_ADDRESS", getattr(settings, name) + 1)
    assert len(found("echo.W002")) == 1


def test_several_workers_on_the_memory_layer_are_a_warning(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKERS = 4
    (message,) = found("echo.W003")
    assert "lists, disconnects and counts the deliveries of one process" in message.msg
    assert "taken away for up to 30 s" in message.msg
    # On SQLite the log is looked at every few milliseconds.
    assert "a second late" not in message.msg
    monkeypatch.setattr(conf.settings, "DATABASES", {"default": {"ENGINE": POSTGRES}})
    (message,) = found("echo.W003")
    assert "up to a second late" in message.msg
    assert "REDIS_URL" in str(message.hint)
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}
    }
    assert found("echo.W003") == []


def test_a_channel_layer_is_needed(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    assert len(found("echo.E002")) == 1


def test_sqlite_must_take_its_lock_at_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf.settings, "DATABASES", {"default": {"ENGINE": SQLITE}})
    (message,) = found("echo.E003")
    assert "IMMEDIATE" in str(message.hint)
