"""The feed: server-side push that loses nothing. This is its only door."""

from echo.feed import cluster, threads
from echo.feed.access import Reader
from echo.feed.accounts import find_reader
from echo.feed.changes import connect as announce_changed_accounts
from echo.feed.connection import Connection
from echo.feed.doorbell import reaches_others
from echo.feed.event import (
    Event,
    Frame,
    Notice,
    count_deliveries,
    encode_data,
    split_frames,
    sse_chunk,
    websocket_chunk,
)
from echo.feed.log import Published, renew_log
from echo.feed.node import get_node, list_nodes, subscribe, survey
from echo.feed.publish import apublish, apublish_many, publish, publish_many
from echo.feed.publishers import Publisher, find_publisher
from echo.feed.retention import retention_of
from echo.feed.shutdown import before_shutdown
from echo.feed.subscription import Subscription

__all__ = [
    "Connection",
    "Event",
    "Frame",
    "Notice",
    "Published",
    "Publisher",
    "Reader",
    "Subscription",
    "announce_changed_accounts",
    "apublish",
    "apublish_many",
    "before_shutdown",
    "cluster",
    "count_deliveries",
    "encode_data",
    "find_publisher",
    "find_reader",
    "get_node",
    "list_nodes",
    "publish",
    "publish_many",
    "reaches_others",
    "renew_log",
    "retention_of",
    "split_frames",
    "sse_chunk",
    "subscribe",
    "survey",
    "threads",
    "websocket_chunk",
]
