"""The site's figures of each second, for the operators' graph and their list of nodes.

Counted always, for a few additions an event. Published as an event on ``staff.stats`` only
while somebody reads exactly that topic, by one node for all: each node's figures travel
with its pulse.
"""

import asyncio
import os
import platform
import resource
import socket
import sys
import time
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from echo.feed import threads
from echo.feed.cluster.channel import Channel
from echo.feed.cluster.presence import NodeState, Presence
from echo.feed.publish import publish
from echo.feed.relay import Relay
from echo.feed.tallies import STATS_TOPIC, Delays, percentile

TURN_SECONDS = 1.0
HOST = socket.gethostname()
STATM = Path("/proc/self/statm")

publish_stats = threads.upkeep.wrap(publish)


class Stats:
    """One node's figures of the last whole second."""

    def __init__(self, relay: Relay, channel: Channel, presence: Presence) -> None:
        # Knows whether the log can be read.
        self.relay = relay
        # Has the connections, and counts what they are given.
        self.hub = relay.hub
        # Knows whether the channel layer is up.
        self.channel = channel
        # The other nodes, whose figures are published along.
        self.presence = presence
        # In Unix seconds.
        self.started_at = time.time()
        # When the counters were last reset, by the monotonic clock.
        self.turned_at = time.monotonic()
        # The figures of the last whole second.
        self.events_per_second = self.deliveries_per_second = 0.0
        # The delays of its tallied deliveries.
        self.delays: Delays = Counter()

    @property
    def watchers(self) -> int:
        """Return how many of this node's connections read the figures."""
        return len(self.hub.by_pattern.get(STATS_TOPIC, ()))

    async def keep_counting(self) -> None:
        """Compute the figures each second; publish all nodes' while somebody watches."""
        while True:
            await asyncio.sleep(TURN_SECONDS)
            self.turn()
            others = self.presence.others()
            is_watched = self.watchers or any(other.watchers for other in others)
            self.hub.tallies.wants_sample = bool(is_watched)
            # One node publishes for all: the one whose name comes first.
            if is_watched and all(self.hub.node_name < other.node for other in others):
                figures = summarize([self.state(), *others])
                await publish_stats(STATS_TOPIC, figures, author="feed")

    def turn(self) -> None:
        """Compute rates and reset the counters."""
        now = time.monotonic()
        seconds = now - self.turned_at
        events, deliveries, self.delays = self.hub.tallies.take_second()
        self.events_per_second = round(events / seconds, 1)
        self.deliveries_per_second = round(deliveries / seconds, 1)
        self.turned_at = now

    def state(self) -> NodeState:
        """Return this node's state as of now."""
        return NodeState(
            node=self.hub.node_name,
            pid=os.getpid(),
            started_at=self.started_at,
            head=str(self.hub.history.head),
            connections=len(self.hub.subscriptions),
            transports=dict(+self.hub.transports),
            channel_layer=self.channel.state,
            log="up" if self.relay.is_log_up else "down",
            host=HOST,
            server=server(),
            python=platform.python_version(),
            events_per_second=self.events_per_second,
            deliveries_per_second=self.deliveries_per_second,
            delays=[list(pair) for pair in self.delays.items()],
            memory_bytes=memory_bytes(),
            watchers=self.watchers,
        )


def summarize(nodes: list[NodeState]) -> dict[str, Any]:
    """Return the site's figures: all nodes see the same events, each its own deliveries."""
    delays: Delays = Counter()
    for node in nodes:
        for step, count in node.delays:
            delays[step] += count
    return {
        "nodes": [node.node for node in nodes],
        "events_per_second": max(node.events_per_second for node in nodes),
        "deliveries_per_second": sum(node.deliveries_per_second for node in nodes),
        "connections": sum(node.connections for node in nodes),
        "delay_p50_ms": percentile(delays, 0.5),
        "delay_p99_ms": percentile(delays, 0.99),
    }


@cache
def server() -> str:
    """Return the server this process is, and its version: "Daphne 4.2.3"."""
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        name = Path(sys.argv[0]).parent.name
    # In `manage.py runserver` Daphne is a library: its reactor runs.
    if getattr(sys.modules.get("twisted.internet.reactor"), "running", False):
        name = "Daphne"
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return name


def memory_bytes() -> int | None:
    """Return the process's resident memory, where the system has it (proc(5)).

    Prometheus' own collector would count the open files as well: 12 ms for 10,000.
    """
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return None
    return pages * resource.getpagesize()
