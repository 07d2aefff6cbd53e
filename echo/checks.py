"""Django's system checks of the settings: the problem, and how to solve it."""

from collections.abc import Iterator
from typing import Any

from channels import DEFAULT_CHANNEL_LAYER
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

# The time after which nginx and most load balancers cut an idle connection.
PROXY_IDLE_SECONDS = 60


@register()
def check_limits(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Check the numbers that must be positive, and the relations between numbers."""
    return [*non_positive(), *heartbeats(), *connections()]


def non_positive() -> Iterator[CheckMessage]:
    for name in (
        "DATABASE_CONNECTIONS",
        "ECHO_MAX_MESSAGE_BYTES",
        "ECHO_MAX_CONNECTIONS",
        "ECHO_MAX_CONNECTIONS_PER_ADDRESS",
        "WRITE_TIMEOUT_SECONDS",
        "HEAD_TIMEOUT_SECONDS",
        "BODY_TIMEOUT_SECONDS",
        "MAX_BODY_BYTES",
        "FEED_HEARTBEAT_SECONDS",
        "FEED_SSE_HEARTBEAT_SECONDS",
        "FEED_SSE_LIFETIME_SECONDS",
        "FEED_WEBSOCKET_LIFETIME_SECONDS",
        "FEED_JUDGE_SECONDS",
        "FEED_RETENTION_SECONDS",
        "FEED_RETENTION_EVENTS",
        "FEED_MAX_CONNECTIONS",
        "FEED_MAX_CONNECTIONS_PER_ADDRESS",
        "FEED_HISTORY_READS_PER_SECOND",
        "FEED_PUBLISHES_PER_SECOND",
    ):
        value = getattr(settings, name)
        if value <= 0:
            yield Error(
                f"{name} is {value}.",
                hint=f"Set {name} to a number above 0, or leave it out.",
                id="echo.E001",
            )


def heartbeats() -> Iterator[CheckMessage]:
    for name in ("FEED_HEARTBEAT_SECONDS", "FEED_SSE_HEARTBEAT_SECONDS"):
        value = getattr(settings, name)
        if value >= PROXY_IDLE_SECONDS:
            yield Warning(
                f"{name} is {value:g}: proxies cut a connection that is silent for "
                f"{PROXY_IDLE_SECONDS} s.",
                hint=f"Set {name} below {PROXY_IDLE_SECONDS}.",
                id="echo.W001",
            )


def connections() -> Iterator[CheckMessage]:
    for name in ("ECHO_MAX_CONNECTIONS", "FEED_MAX_CONNECTIONS"):
        if getattr(settings, f"{name}_PER_ADDRESS") > getattr(settings, name):
            yield Warning(
                f"{name}_PER_ADDRESS is above {name} and has no effect.",
                hint=f"Lower it, or raise {name}.",
                id="echo.W002",
            )


@register()
def check_doorbell(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Check that several processes have a channel layer that connects them."""
    layer = settings.CHANNEL_LAYERS.get(DEFAULT_CHANNEL_LAYER)
    if layer is None:
        return [
            Error(
                "There is no default channel layer.",
                hint="Set REDIS_URL, or leave CHANNEL_LAYERS as settings.py makes it.",
                id="echo.E002",
            )
        ]
    in_memory = layer["BACKEND"].endswith("InMemoryChannelLayer")
    if in_memory and settings.WORKERS > 1:
        return [
            Warning(
                f"WEB_CONCURRENCY is {settings.WORKERS}, and the channel layer is in "
                f"memory: {', '.join(shortcomings())}.",
                hint="Set REDIS_URL, so that the processes reach each other.",
                id="echo.W003",
            )
        ]
    return []


def shortcomings() -> Iterator[str]:
    """Yield what does not work if the processes have no channel layer in common."""
    yield "the admin lists, disconnects and counts the deliveries of one process only"
    yield (
        "a reader of another process keeps rights that are taken away for up to "
        f"{settings.FEED_JUDGE_SECONDS:g} s"
    )
    if not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield (
            "events cross processes only when the log is looked at, up to a second late"
        )


@register()
def check_database(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Check that SQLite locks at BEGIN: later, a transaction can fail with "locked"."""
    database = settings.DATABASES["default"]
    if not database["ENGINE"].endswith("sqlite3"):
        return []
    if database.get("OPTIONS", {}).get("transaction_mode") == "IMMEDIATE":
        return []
    return [
        Error(
            "SQLite's transaction_mode is not IMMEDIATE: publishers that race would fail.",
            hint='Set OPTIONS["transaction_mode"] to "IMMEDIATE", as settings.py does.',
            id="echo.E003",
        )
    ]
