"""Limits on open connections, for the process and for each client address."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from echo.protocol import TooMany


class ConnectionLimits:
    """Counts the open connections of one endpoint.

    The limits are the settings ``<NAME>_MAX_CONNECTIONS`` and, for one client address,
    ``<NAME>_MAX_CONNECTIONS_PER_ADDRESS``.
    """

    def __init__(self, name: str) -> None:
        self.name = name  # the prefix of the settings
        self.total = 0  # open connections
        # Open connections by client address; addresses without any are removed.
        self.by_address: Counter[str] = Counter()

    @contextmanager
    def connection(self, address: str) -> Iterator[None]:
        """Count a connection while the block lasts. Raises TooMany at a limit."""
        self.reserve(address)
        try:
            yield
        finally:
            self.release(address)

    def reserve(self, address: str) -> None:
        """Count a connection until ``release``. Raises TooMany at a limit.

        Call it before the first ``await``: otherwise all connections of a burst would pass.
        """
        self.refuse_too_many(address)
        self.total += 1
        self.by_address[address] += 1

    def release(self, address: str) -> None:
        """Stop counting one connection of an address."""
        self.total -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]

    def refuse_too_many(self, address: str) -> None:
        """Raise TooMany if the process or the address has no connections left."""
        limit = getattr(settings, f"{self.name}_MAX_CONNECTIONS")
        if self.total >= limit:
            raise TooMany(f"this node has its {limit} connections: try later")
        limit = getattr(settings, f"{self.name}_MAX_CONNECTIONS_PER_ADDRESS")
        if self.by_address[address] >= limit:
            raise TooMany(f"{address} has its {limit} connections: close some first")
