"""The feed: server-side push that loses nothing. This is its only door."""

from echo.feed.access import Interest, Reader
from echo.feed.census import Question
from echo.feed.event import Event, Frame, Notice
from echo.feed.log import renew_log
from echo.feed.poll import polled
from echo.feed.publish import Published, apublish, apublish_many, publish, publish_many
from echo.feed.relay import Relay, get_relay, subscribe
from echo.feed.subscription import Connection, Subscription

__all__ = [
    "Connection",
    "Event",
    "Frame",
    "Interest",
    "Notice",
    "Published",
    "Question",
    "Reader",
    "Relay",
    "Subscription",
    "apublish",
    "apublish_many",
    "get_relay",
    "polled",
    "publish",
    "publish_many",
    "renew_log",
    "subscribe",
]
