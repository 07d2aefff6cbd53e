"""Delivers events to readers, and checks that each got each, once and in order."""

from collections.abc import Sequence
from typing import Protocol

from echo.load.errors import LoadError
from echo.load.generator import Collected


class Load(Protocol):
    """A load generator: that of generator.py, or of fallback.py."""

    def expect(
        self,
        events: int,
        *,
        readers: int | None = None,
        kinds: int = 1,
        in_order: bool = True,
    ) -> None: ...

    def collect(self) -> Collected: ...


class Publisher(Protocol):
    """Publishes numbered events, and reads the numbers of those that arrived."""

    def publish(self, topics: Sequence[str]) -> float:
        """Publish an event on each topic, numbered from 0; return when that began."""

    def number(self, event: bytes) -> int:
        """Return the number of an event."""


def deliver(
    load: Load,
    publisher: Publisher,
    topics: Sequence[str],
    *,
    readers: int | None = None,
    in_order: bool = True,
) -> float:
    """Publish an event on each topic; return the seconds until the last reader had its last.

    Reader n of the first ``readers`` (None: of all) reads topic number n, modulo the number
    of topics. Raises LoadError.
    """
    kinds = len(set(topics))
    load.expect(len(topics) // kinds, readers=readers, kinds=kinds, in_order=in_order)
    began = publisher.publish(topics)
    last, events = load.collect()
    for kind, received in enumerate(events):
        numbers = [publisher.number(event) for event in received]
        expected = [*range(kind, len(topics), kinds)]
        if (numbers if in_order else sorted(numbers)) != expected:
            raise LoadError(f"expected the events {expected}, got {numbers}")
    return last - began
