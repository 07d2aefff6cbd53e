"""The race of the transports: one stream of events, sent on every way at the same moment.

A visitor's page or ``manage.py race`` reserves a race, opens its five lanes on the race's own
topic, and starts it with one long request, which publishes while it lasts: when the visitor
goes, the server cancels the request, and the race with it. A reservation is a signed text and
no state, so that any node can start what another has reserved.

Each event is published in the feed, and sent to a group as the Channels tutorial has it
(stock.py): the one place besides ``feed.doorbell`` and ``feed.cluster`` that uses the channel
layer.
"""

import asyncio
import json
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from channels.layers import get_channel_layer
from django.core import signing
from django.db import DatabaseError
from django.utils.translation import gettext as _

from echo import feed
from echo.lab.bounds import (
    LabError,
    Slots,
    is_loopback,
    number,
    one_of,
    whole_number,
)

logger = logging.getLogger("echo.lab")

SCENARIOS = ("steady", "sparse", "burst", "cut", "slow")
MAX_EVENTS = 500
# An event every ten seconds: a few of them fill the time.
MAX_SPARSE_EVENTS = 6
SPARSE_RATE = 0.1
LOWEST_RATE, HIGHEST_RATE = 0.1, 100.0
# The smallest event that holds its index and its time.
LOWEST_SIZE, HIGHEST_SIZE = 64, 4096
DEFAULT_EVENTS, DEFAULT_RATE, DEFAULT_SIZE = 20, 4.0, 200
# With the lanes' opening and their last polls, a race takes less than a minute.
MAX_PUBLISHING_SECONDS = 50.0

# A log that is slow does not hold a race's slot for longer.
MAX_RUN_SECONDS = MAX_PUBLISHING_SECONDS + 10

MAX_RACES = 5
MAX_RACES_PER_ADDRESS = 2
# The log keeps events for a day: strangers must not fill its disk. So much at once, and as
# much again in four hours; it is six times all races with the most and the largest events.
LOGGED_BYTES = 64 * 1024 * 1024
# Of one address: a visitor leaves some for others.
LOGGED_BYTES_PER_ADDRESS = LOGGED_BYTES // 8
# The addresses whose share is remembered; the one that was first goes first.
MAX_ADDRESSES = 10_000
REFILL_SECONDS = 4 * 60 * 60.0
EVENT_OVERHEAD_BYTES = 200  # what the log keeps with an event's data
# A reservation is started within this time, or not at all.
RESERVED_SECONDS = 60
# Of the pause between two events, what is kept after a late one.
LATE_PAUSE = 0.8
# The tutorial's way has no time limit; a race must not hang with the channel layer.
GROUP_SEND_SECONDS = 2.0

RACE_ID = re.compile(r"[A-Za-z0-9_-]{22}")
SALT = "echo.lab.race"


@dataclass(frozen=True, slots=True)
class Race:
    """The settings of one race."""

    id: str
    events: int
    rate: float  # events a second; a burst ignores it
    size: int  # of an event's data, in bytes of JSON
    scenario: str

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Race":
        """Return a new race with a visitor's settings. Raises LabError."""
        scenario = one_of(settings, "scenario", SCENARIOS, "steady")
        is_sparse = scenario == "sparse"
        most = MAX_SPARSE_EVENTS if is_sparse else MAX_EVENTS
        default = min(DEFAULT_EVENTS, most)
        race = cls(
            id=secrets.token_urlsafe(16),
            events=whole_number(settings, "events", 1, most, default),
            rate=SPARSE_RATE
            if is_sparse
            else number(settings, "rate", LOWEST_RATE, HIGHEST_RATE, DEFAULT_RATE),
            size=whole_number(
                settings, "size", LOWEST_SIZE, HIGHEST_SIZE, DEFAULT_SIZE
            ),
            scenario=scenario,
        )
        if race.seconds > MAX_PUBLISHING_SECONDS:
            raise LabError(
                _(
                    "expected a race of at most %(limit)s seconds, got %(events)s events "
                    "at %(rate)s a second: choose fewer events or a higher rate"
                )
                % {
                    "limit": f"{MAX_PUBLISHING_SECONDS:g}",
                    "events": race.events,
                    "rate": f"{race.rate:g}",
                }
            )
        return race

    @classmethod
    def of_token(cls, token: Any) -> "Race":
        """Return the race that a reservation names. Raises LabError."""
        try:
            return cls(**signing.loads(str(token), salt=SALT, max_age=RESERVED_SECONDS))
        except (signing.BadSignature, TypeError, UnicodeError):
            raise LabError(
                _("token: expected that of a race reserved in the last minute")
            ) from None

    @property
    def token(self) -> str:
        """The reservation: what ``of_token`` reads, on any node of the site."""
        return signing.dumps(asdict(self), salt=SALT)

    @property
    def topic(self) -> str:
        """The race's own topic in the feed."""
        return f"race.{self.id}"

    @property
    def group(self) -> str:
        """The channel layer's group of the race."""
        return f"race.{self.id}"

    @property
    def seconds(self) -> float:
        """The time from the first event to the last."""
        return 0.0 if self.scenario == "burst" else (self.events - 1) / self.rate


class Budget:
    """Refills evenly; what is spent beyond it is refused. For the event loop only."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size = size  # when it is full
        self.seconds = seconds  # from empty to full
        self.left = float(size)  # at `at`
        self.at = time.monotonic()

    def spend(self, amount: int) -> None:
        """Take so much. Raises LabError 429 if there is less."""
        now = time.monotonic()
        refilled = (now - self.at) * self.size / self.seconds
        self.left, self.at = min(self.size, self.left + refilled), now
        if amount > self.left:
            raise LabError(
                _(
                    "expected fewer or smaller events: there have been many races lately. "
                    "Try again in %(seconds)s seconds"
                )
                % {"seconds": f"{(amount - self.left) * self.seconds / self.size:.0f}"},
                429,
            )
        self.left -= amount


slots = Slots(MAX_RACES, MAX_RACES_PER_ADDRESS)
budget = Budget(LOGGED_BYTES, REFILL_SECONDS)
# The shares of the addresses that have raced lately.
shares: OrderedDict[str, Budget] = OrderedDict()


def spend(race: Race, address: str) -> None:
    """Count what a race adds to the log. Raises LabError 429 if that is too much."""
    amount = race.events * (race.size + EVENT_OVERHEAD_BYTES)
    if not is_loopback(address):
        if address not in shares:
            shares[address] = Budget(LOGGED_BYTES_PER_ADDRESS, REFILL_SECONDS)
            if len(shares) > MAX_ADDRESSES:
                shares.popitem(last=False)
        shares[address].spend(amount)
    budget.spend(amount)


def refuse_if_full(address: str) -> None:
    """Raise LabError 429 if a race that starts now would be refused."""
    with slots.slot(address):
        pass


async def run(race: Race, address: str) -> dict[str, Any]:
    """Publish a race's events; return when the last has been published. Raises LabError."""
    with slots.slot(address):
        spend(race, address)
        try:
            async with asyncio.timeout(MAX_RUN_SECONDS):
                if race.scenario == "burst":
                    await publish_burst(race)
                else:
                    await publish_evenly(race)
        except (DatabaseError, TimeoutError):
            raise LabError(
                _("the log cannot be reached: try again a little later"), 503
            ) from None
    return {"published": race.events}


async def publish_evenly(race: Race) -> None:
    """Publish each event when it is due, or with most of a pause after one that was late.

    Without the pause, both could come in the same response to a long poll, and this race
    would cost fewer bytes than another with the same settings.
    """
    interval = 1 / race.rate
    due_at = began = time.monotonic()
    for index in range(race.events):
        await asyncio.sleep(due_at - time.monotonic())
        # From its start, or the time of each commit would be added to the race.
        late_at = time.monotonic() + interval * LATE_PAUSE
        await publish(race, [event_data(index, race.size)])
        due_at = max(began + (index + 1) * interval, late_at)


async def publish_burst(race: Race) -> None:
    """Publish all events in one transaction.

    As many single calls would share commits too, but not the same ones in each race: two
    races with the same settings would cost different numbers of bytes.
    """
    await publish(race, [event_data(i, race.size) for i in range(race.events)])


async def publish(race: Race, data: list[dict[str, Any]]) -> None:
    """Publish events in the feed, and send them to the group at the same time.

    The keys make a second start of the same reservation harmless, on whichever node.
    """
    events = [
        {"topic": race.topic, "data": one, "key": f"{race.topic} {one['index']}"}
        for one in data
    ]
    sending = asyncio.create_task(send_to_group(race, data), name="stock lane")
    try:
        published = await feed.apublish_many(events)
        await sending
    finally:
        sending.cancel()
    if any(one.duplicate for one in published):
        raise LabError(_("this race has been started already: reserve another"), 409)


async def send_to_group(race: Race, data: list[dict[str, Any]]) -> None:
    """Send events as the tutorial does; what the channel layer loses is lost."""
    layer = get_channel_layer()
    for one in data:
        try:
            async with asyncio.timeout(GROUP_SEND_SECONDS):
                await layer.group_send(race.group, {"type": "race.event", "event": one})
        except Exception as error:  # noqa: BLE001 -- whatever the layer's client raises
            logger.warning(
                "race: an event is lost, the channel layer failed: %r", error
            )


def event_data(index: int, size: int) -> dict[str, Any]:
    """Return an event's data, padded to a size in bytes of JSON; it is due now."""
    data = {"index": index, "sent_us": time.time_ns() // 1000, "padding": ""}
    length = len(json.dumps(data, separators=(",", ":")))
    return data | {"padding": "." * (size - length)}
