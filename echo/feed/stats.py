"""What the feed does each second, for the operators' graph and their list of nodes.

Counted always, for two additions an event. Published as an event on ``staff.stats`` only
while somebody reads exactly that topic, by one node for all: each node's figures travel
with its pulse.
"""

import asyncio
import platform
import resource
import socket
import sys
import time
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echo.feed.access import Interest
from echo.feed.publish import publish
from echo.feed.tally import percentile
from echo.feed.threads import upkeep

if TYPE_CHECKING:
    from echo.feed.relay import Relay
    from echo.feed.subscription import Subscription

STATS_TOPIC = "staff.stats"
TURN_SECONDS = 1.0
HOST = socket.gethostname()
STATM = Path("/proc/self/statm")

publish_stats = upkeep.wrap(publish)


class Stats:
    """One node's figures: those of the second under way, and those of the last."""

    def __init__(self, relay: "Relay") -> None:
        self.relay = relay
        self.transports: Counter[str] = Counter()
        self.interests: Counter[Interest] = Counter()
        self.watchers = 0
        self.samples = False
        self.turned_at = time.monotonic()
        self.events = self.deliveries = 0
        self.events_per_second = self.deliveries_per_second = 0.0
        self.delays: Counter[int] = Counter()

    def joined(self, subscription: "Subscription") -> None:
        self.transports[subscription.connection.transport] += 1
        self.interests[subscription.interest] += 1
        self.watchers += STATS_TOPIC in subscription.interest.patterns

    def left(self, subscription: "Subscription") -> None:
        self.transports[subscription.connection.transport] -= 1
        self.interests[subscription.interest] -= 1
        if not self.interests[subscription.interest]:
            del self.interests[subscription.interest]
        self.watchers -= STATS_TOPIC in subscription.interest.patterns

    async def count_readers(self, topic: str) -> int:
        """How many read a topic now; most have one of a few interests."""
        await asyncio.sleep(0)  # where each has its own, the next topic is to wait
        counts = self.interests.items()
        return sum(count for interest, count in counts if interest.matches(topic))

    def count(self, readers: int) -> bool:
        """Counts an event and its deliveries; True when the deliveries are to be timed."""
        self.events += 1
        self.deliveries += readers
        is_sample, self.samples = self.samples, False
        return is_sample

    # --- each second -------------------------------------------------------------------

    async def keep(self) -> None:
        """Takes the figures each second, and publishes all nodes' while somebody watches."""
        while True:
            await asyncio.sleep(TURN_SECONDS)
            self.turn()
            known = self.relay.nodes.known
            others = sum(node["watchers"] for node in known.values())
            self.samples = bool(self.watchers or others)
            if self.samples and self.relay.node == min({self.relay.node, *known}):
                figures = summary(self.relay.nodes.describe())
                await publish_stats(STATS_TOPIC, figures, author="feed")

    def turn(self) -> None:
        """The second is over: its counts become the figures that are told."""
        now = time.monotonic()
        seconds = now - self.turned_at
        self.events_per_second = round(self.events / seconds, 1)
        self.deliveries_per_second = round(self.deliveries / seconds, 1)
        self.delays = self.relay.tallies.take_delays()
        self.turned_at = now
        self.events = self.deliveries = 0

    def describe(self) -> dict[str, Any]:
        """This node, as the operators see it."""
        return self.relay.describe() | {
            "host": HOST,
            "server": server(),
            "python": platform.python_version(),
            "transports": dict(+self.transports),
            "log": "up" if self.relay.log_up else "down",
            "events_per_second": self.events_per_second,
            "deliveries_per_second": self.deliveries_per_second,
            "memory_bytes": memory_bytes(),
            "watchers": self.watchers,
            "delays": list(self.delays.items()),
        }


def summary(everybody: list[dict[str, Any]]) -> dict[str, Any]:
    """The site in this second: every node sees the same events, each its own deliveries."""
    delays: Counter[int] = Counter()
    for node in everybody:
        delays.update(dict(node["delays"]))
    return {
        "nodes": [node["node"] for node in everybody],
        "events_per_second": max(node["events_per_second"] for node in everybody),
        "deliveries_per_second": sum(n["deliveries_per_second"] for n in everybody),
        "connections": sum(node["connections"] for node in everybody),
        "delay_p50_ms": percentile(delays, 0.5),
        "delay_p99_ms": percentile(delays, 0.99),
    }


@cache
def server() -> str:
    """The server this process is, with its version: "Daphne 4.2.3", "uvicorn 0.54.0"."""
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        name = Path(sys.argv[0]).parent.name
    # Daphne is a library in `manage.py runserver`: that its reactor runs, gives it away.
    if getattr(sys.modules.get("twisted.internet.reactor"), "running", False):
        name = "Daphne"
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return name


def memory_bytes() -> int | None:
    """The process's resident memory, where the system tells it (proc(5)).

    Prometheus' own collector would count the open files as well: 12 ms for 10,000.
    """
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return None
    return pages * resource.getpagesize()
