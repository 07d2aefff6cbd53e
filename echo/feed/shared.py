"""Shares reads: equal questions at the same time are asked once.

A thousand readers who come back together to one place cost one read, and one page.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

# How long an answer is given to others: those who come back together come within this.
SHARED_SECONDS = 1.0
# Answers that are kept at most; a page is of log.PAGE_BYTES.
MAX_SHARED = 32


class SharedReads:
    """The reads under way, and the results of a moment ago."""

    def __init__(self) -> None:
        # By what is read; the oldest goes first.
        self.reads: OrderedDict[Hashable, asyncio.Task[Any]] = OrderedDict()

    def knows(self, key: Hashable) -> bool:
        """Return True when this has been asked and costs nothing more."""
        return key in self.reads

    async def read(
        self, key: Hashable, function: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Return what the function returns, or what it returned for another a moment ago.

        A caller that is cancelled leaves the read to the others.
        """
        task = self.reads.get(key)
        if task is None:
            task = asyncio.create_task(function(), name="feed read")
            self.reads[key] = task
            task.add_done_callback(lambda done: self.done(key, done))
            if len(self.reads) > MAX_SHARED:
                self.reads.popitem(last=False)
        answer: T = await asyncio.shield(task)
        return answer

    def done(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        """Keep an answer for a moment; forget a failure at once."""
        if task.cancelled() or task.exception() is not None:
            self.forget(key, task)
        else:
            task.get_loop().call_later(SHARED_SECONDS, self.forget, key, task)

    def forget(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        """Remove a read, unless a newer one has taken its place."""
        if self.reads.get(key) is task:
            del self.reads[key]

    def clear(self) -> None:
        """Forget all: the log's numbers begin to name other events."""
        self.reads.clear()
