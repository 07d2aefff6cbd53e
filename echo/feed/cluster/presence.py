"""Presence: which nodes are alive, by the pulse that each sends once a second."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

from echo.feed.doorbell import Message
from echo.protocol import EventId

# A node without a pulse for longer is gone.
GONE_SECONDS = 5.0
# Within this the live nodes have answered a new node's first pulse.
SETTLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node's state, as its pulse carries it."""

    # Its name.
    node: str
    pid: int
    # Unix seconds, by its own clock.
    started_at: float
    # The id of the last event it has fanned out.
    head: str
    # Open subscriptions, and how many of each transport.
    connections: int
    transports: dict[str, int]
    # "none", "up" or "down".
    channel_layer: str
    # "up" or "down".
    log: str
    host: str
    # With its version: "uvicorn 0.54.0".
    server: str
    python: str
    # Of the last whole second.
    events_per_second: float
    deliveries_per_second: float
    # Pairs of `tallies.delay_step` and count, of the last whole second.
    delays: list[list[int]]
    # Resident memory; None where the system does not say.
    memory_bytes: int | None
    # How many read the figures of the site.
    watchers: int
    # How far its clock is ahead of this node's.
    clock_ahead_seconds: float = 0.0

    def pulse(self) -> Message:
        """Return the pulse: the message with this state."""
        state = asdict(self) | {"type": "feed.pulse", "told_at": time.time()}
        del state["clock_ahead_seconds"]  # the receiver's to know
        return state

    @classmethod
    def of(cls, pulse: Message) -> "NodeState | None":
        """Return what a pulse says; None for one of an older version, which says less."""
        ahead = round(pulse.get("told_at", 0.0) - time.time(), 3)
        given = pulse | {"clock_ahead_seconds": ahead}
        names = {field.name for field in fields(cls)}
        if not names <= given.keys():
            return None
        return cls(**{name: given[name] for name in names})


@dataclass(frozen=True, slots=True)
class NodeList:
    """All nodes of the site, as one of them knows them; itself first."""

    # The log's head; None while it cannot be read.
    head: EventId | None
    nodes: list[NodeState]
    # True when other processes may serve, whom no channel layer reaches.
    is_isolated: bool


class Presence:
    """The other nodes that are alive."""

    def __init__(self, node_name: str, clock: Callable[[], float]) -> None:
        # The name of this node.
        self.node_name = node_name
        # In seconds, monotonic.
        self.clock = clock
        # By name: when the last pulse of each came, by the clock, and what it said.
        self.known: dict[str, tuple[float, NodeState]] = {}
        # Until then a node that is alive may be missing.
        self.settled_at = clock()

    def settle(self) -> None:
        """Expect the answers to this node's first pulse."""
        self.settled_at = self.clock() + SETTLE_SECONDS

    def receive_pulse(self, pulse: Message) -> bool:
        """Note that another node is alive; return True for one that was not known."""
        state = NodeState.of(pulse)
        if state is None or state.node == self.node_name:
            return False
        is_new = state.node not in self.known
        self.known[state.node] = self.clock(), state
        return is_new

    def remove_gone(self) -> None:
        """Remove the nodes whose pulse has stopped."""
        horizon = self.clock() - GONE_SECONDS
        self.known = {k: v for k, v in self.known.items() if v[0] > horizon}

    def others(self) -> list[NodeState]:
        """Return the other nodes."""
        return [state for _, state in self.known.values()]
