"""The threads in which the database is asked: an event loop never waits for it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections

# Reading for a few readers who are behind must not wait for each other for long; more
# threads would only queue at the database instead.
readers = ThreadPoolExecutor(4, "feed-log")


def in_reader_thread(function: Any) -> Any:
    """The function as a coroutine that runs it with a healthy database connection."""

    def call(*arguments: Any, **named: Any) -> Any:
        close_old_connections()
        return function(*arguments, **named)

    return sync_to_async(call, thread_sensitive=False, executor=readers)
