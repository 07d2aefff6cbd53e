"""What one reader has been given, judged against what was published."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from echo.protocol import EventId


@dataclass(frozen=True)
class Figures:
    """How far a reader is from "every event once, in order"; all zero is the guarantee."""

    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    broken_chains: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.disordered + other.disordered,
            self.broken_chains + other.broken_chains,
        )


@dataclass
class Record:
    """Every frame that came, in order, over however many connections."""

    cursor: EventId | None = None
    data: list[Any] = field(default_factory=list)
    seen: set[EventId] = field(default_factory=set)
    resets: list[dict[str, Any]] = field(default_factory=list)
    byes: list[dict[str, Any]] = field(default_factory=list)
    doubled: int = 0
    disordered: int = 0
    broken_chains: int = 0
    latest: dict[str, str] = field(default_factory=dict)

    def take(self, frame: dict[str, Any]) -> None:
        """Record the next frame, and move the cursor as a client must."""
        match frame["type"]:
            case "event":
                self.take_event(frame)
            case "hello" | "heartbeat":
                self.take_cursor(frame.get("last_event_id"))
            case "reset":
                self.take_reset(frame)
            case "bye":
                self.byes.append(frame)
            case unknown:
                raise ValueError(f"expected a frame of the feed, got {unknown!r}")

    def take_cursor(self, told: str | None) -> None:
        """Move the cursor; a ``hello`` before a ``reset`` has none."""
        if told is not None:
            cursor = EventId.parse(told)
            if self.cursor is None or cursor.epoch == self.cursor.epoch:
                self.cursor = max(cursor, self.cursor or cursor)

    def take_reset(self, reset: dict[str, Any]) -> None:
        """Go on at the reset's id; later ids name other events."""
        self.resets.append(reset)
        self.cursor = cursor = EventId.parse(reset["last_event_id"])
        self.seen = {known for known in self.seen if known <= cursor}
        self.latest.clear()

    def take_event(self, event: dict[str, Any]) -> None:
        identity = EventId.parse(event["id"])
        if identity in self.seen:
            self.doubled += 1
            return
        if self.cursor and self.cursor.epoch == identity.epoch:
            self.disordered += identity <= self.cursor
        self.broken_chains += self.breaks_chain(event)
        self.latest[event["topic"]] = event["id"]
        self.cursor = identity
        self.seen.add(identity)
        self.data.append(event["data"])

    def breaks_chain(self, event: dict[str, Any]) -> bool:
        """Return True when ``previous`` names an event that this reader has missed."""
        known = self.latest.get(event["topic"])
        if known is not None:
            return bool(event["previous"] != known)
        if event["previous"] is None or self.cursor is None:
            return False
        return EventId.parse(event["previous"]) > self.cursor

    def figures(self, published: Collection[Any]) -> Figures:
        """Lost is what was published and never came."""
        came = set(self.data)
        lost = sum(data not in came for data in published)
        return Figures(lost, self.doubled, self.disordered, self.broken_chains)
