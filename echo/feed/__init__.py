"""The feed: server-side push that loses nothing. This is its only door."""

from echo.feed.access import Interest, Reader
from echo.feed.accounts import find_reader
from echo.feed.census import MAX_PAGE, Census, End
from echo.feed.event import Event, Frame, Notice
from echo.feed.log import renew_log
from echo.feed.publish import Published, apublish, apublish_many, publish, publish_many
from echo.feed.question import Deliveries, Readers, Receipt
from echo.feed.relay import Relay, ask, describe_nodes, get_relay, subscribe
from echo.feed.stats import STATS_TOPIC
from echo.feed.subscription import Connection, Subscription
from echo.feed.threads import accounts as account_threads

__all__ = [
    "MAX_PAGE",
    "STATS_TOPIC",
    "Census",
    "Connection",
    "Deliveries",
    "End",
    "Event",
    "Frame",
    "Interest",
    "Notice",
    "Published",
    "Reader",
    "Readers",
    "Receipt",
    "Relay",
    "Subscription",
    "account_threads",
    "apublish",
    "apublish_many",
    "ask",
    "describe_nodes",
    "find_reader",
    "get_relay",
    "publish",
    "publish_many",
    "renew_log",
    "subscribe",
]
