"""One race from the shell: reserve, open the lanes, start, cut, and wait for the end."""

import asyncio
import json
import math
import re
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

from echo.lab.racer.errors import ExitCode, RaceError
from echo.lab.racer.heads import Browser
from echo.lab.racer.lanes import (
    Lane,
    LongPoll,
    ShortPoll,
    Sse,
    Stock,
    WebSocket,
    detail_of,
)
from echo.lab.racer.stream import Stream, Tally

# The same numbers as in static/echo/lab/transports/race.js.
CLOCK_SAMPLES = 8
CUT_SECONDS = 3.0
OPEN_SECONDS = 15.0
# What comes later than this after the last event was published is lost.
GRACE_SECONDS = 10.0
# A race lasts so much longer than its events take to be published, and is given up then.
MARGIN_SECONDS = 2 * OPEN_SECONDS + CUT_SECONDS + GRACE_SECONDS + 15.0
# An event that is due is at the server after so long, whatever the load of the machine.
SLACK_SECONDS = 0.5
SLOW_POLL_SECONDS = 1.5  # from one short poll to the next on the slow network
QUIET_SECONDS = 0.25
CSRF_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@dataclass(frozen=True, slots=True)
class Figures:
    """What one lane has cost and brought."""

    events: int
    lost: int
    requests: int
    bytes_sent: int
    bytes_received: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """A race that is over."""

    race: dict[str, Any]  # its settings, as the server has confirmed them
    lanes: dict[str, Figures]
    offset_ms: float  # the server's clock minus this machine's
    uncertainty_ms: float


async def run(browser: Browser, settings: dict[str, Any]) -> Result:
    """Run a race with these settings. Raises RaceError."""
    stream: Stream | None = None
    lanes: list[Lane] = []
    try:
        stream = await Stream.open(browser.site, Tally())
        door = Door(browser, stream)
        async with asyncio.timeout(OPEN_SECONDS):
            await door.visit()
            race = await door.post("/transports/races", settings)
            offset, uncertainty = await door.measure_clock()
        base = "/transports/slow/feed/" if race["scenario"] == "slow" else "/feed/"
        short_poll = ShortPoll(browser, base, race["topic"])
        others = [
            kind(browser, base, race["topic"])
            for kind in (LongPoll, Sse, WebSocket, Stock)
        ]
        lanes = [short_poll, *others]
        async with asyncio.timeout(race["seconds"] + MARGIN_SECONDS):
            await watch(lanes, hold(door, race, short_poll, others))
    except TimeoutError:
        raise RaceError(
            ExitCode.TIMEOUT,
            "the site did not answer in time: try again, or look at it",
        ) from None
    except (OSError, EOFError) as error:
        raise RaceError(
            ExitCode.NOT_CONNECTED,
            f"expected the site at {browser.site.origin}, got: "
            f"{error or 'the end of the connection'}. Start it with `manage.py runserver`, "
            "or say with --url where it is",
        ) from None
    finally:
        await asyncio.gather(*(lane.close() for lane in lanes))
        if stream is not None:
            stream.abort()
    figures = {lane.name: figures_of(lane, race["events"], offset) for lane in lanes}
    return Result(race, figures, offset * 1000, uncertainty * 1000)


async def watch(lanes: Sequence[Lane], work: Awaitable[None]) -> None:
    """Do the work; raise what a lane raises meanwhile."""
    working = asyncio.ensure_future(work)
    try:
        while not working.done():
            await asyncio.wait((working,), timeout=0.05)
            for lane in lanes:
                if (
                    lane.reading
                    and lane.reading.done()
                    and not lane.reading.cancelled()
                ):
                    error = lane.reading.exception()
                    if not working.done():
                        raise error or EOFError
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    working.result()


async def hold(
    door: "Door", race: dict[str, Any], short_poll: ShortPoll, others: Sequence[Lane]
) -> None:
    """Open the lanes, start the race, cut it if that is asked for, and wait for its end.

    The short poll is opened last: its polls then fall at the same moments of each race, and
    two races with the same settings make the same number of requests.
    """
    for lane in others:
        lane.open()
    await opened(others)
    short_poll.open()
    await opened([short_poll])
    began = time.monotonic()
    lanes = [short_poll, *others]
    publishing = asyncio.create_task(
        door.post("/transports/races/start", {"token": race["token"]}), name="start"
    )
    try:
        left = race["seconds"]
        if race["scenario"] == "cut":
            left = await cut(lanes, began, race["seconds"])
        await publishing
        await wait_for_end(race, short_poll, lanes, left)
    finally:
        publishing.cancel()


async def opened(lanes: Sequence[Lane]) -> None:
    async with asyncio.timeout(OPEN_SECONDS):
        for lane in lanes:
            await lane.opened.wait()


async def cut(lanes: Sequence[Lane], began: float, seconds: float) -> float:
    """Close all lanes in the middle of the race for a while; return how long it goes on then.

    Half a second off the short poll's own rhythm.
    """
    cut_at = math.floor(seconds / 2) + 0.5
    await asyncio.sleep(began + cut_at - time.monotonic())
    await asyncio.gather(*(lane.close() for lane in lanes))
    await asyncio.sleep(began + cut_at + CUT_SECONDS - time.monotonic())
    for lane in lanes:
        lane.open()
    return max(0.0, seconds - cut_at - CUT_SECONDS)


async def wait_for_end(
    race: dict[str, Any], short_poll: ShortPoll, lanes: Sequence[Lane], left: float
) -> None:
    """Wait for the poll that must have the last event, and for lanes that still read."""
    deadline = time.monotonic() + GRACE_SECONDS
    period = SLOW_POLL_SECONDS if race["scenario"] == "slow" else 1.0
    rounds = math.ceil((left + SLACK_SECONDS) / period) + 1
    while time.monotonic() < deadline:
        if short_poll.responses >= rounds:
            if all(is_done(lane, race["events"]) for lane in lanes):
                break
            rounds = short_poll.responses + 1
        await asyncio.sleep(0.01)
    # In the middle of the pause between two polls.
    await asyncio.sleep(0.5)


def is_done(lane: Lane, events: int) -> bool:
    """Return True if nothing more is to come; the stock lane cannot know what it has lost."""
    is_quiet = time.monotonic() - lane.arrived_at > QUIET_SECONDS
    return len(lane.arrivals) == events or (lane.name == "stock" and is_quiet)


def figures_of(lane: Lane, events: int, offset: float) -> Figures:
    """Return the lane's figures; ``offset`` is the server's clock minus ours, in seconds."""
    delays = sorted(came + offset - sent for came, sent in lane.arrivals.values())
    return Figures(
        events=len(lane.arrivals),
        lost=events - len(lane.arrivals),
        requests=lane.requests,
        bytes_sent=lane.tally.sent,
        bytes_received=lane.tally.received,
        p50_ms=percentile(delays, 50),
        p95_ms=percentile(delays, 95),
    )


def percentile(delays: Sequence[float], percent: int) -> float:
    """Return a percentile of sorted seconds in ms, by nearest rank; 0 if there are none."""
    if not delays:
        return 0.0
    rank = math.ceil(percent / 100 * len(delays))
    return round(delays[rank - 1] * 1000, 3)


class Door:
    """What the page does beside its lanes: visit, reserve, measure the clock, start."""

    def __init__(self, browser: Browser, stream: Stream) -> None:
        self.browser = browser
        self.stream = stream
        self.csrf_token = ""

    async def visit(self) -> None:
        """Get the page with its cookie and its CSRF token. Raises RaceError."""
        html = "text/html,application/xhtml+xml"
        await self.stream.write(self.browser.head("GET", "/transports/", html, []))
        response = await self.stream.head()
        text = (await self.stream.body(response)).decode(errors="replace")
        token = CSRF_TOKEN.search(text)
        if response.status != 200 or not token:
            raise RaceError(
                ExitCode.NOT_CONNECTED,
                f"expected the page /transports/ at {self.browser.site.origin}, got "
                f"{response.status}: is it this site?",
            )
        self.csrf_token = token[1]
        self.browser.cookie = "; ".join(response.cookies)

    async def post(self, path: str, settings: dict[str, Any]) -> Any:
        """Return the JSON that answers a POST of JSON. Raises RaceError for a refusal."""
        body = json.dumps(settings).encode()
        fields = [
            ("Content-Length", str(len(body))),
            ("Content-Type", "application/json"),
            ("X-CSRFToken", self.csrf_token),
        ]
        await self.stream.write(self.browser.post(path, fields) + body)
        response = await self.stream.head()
        answer = await self.stream.body(response)
        if response.status == 200:
            return json.loads(answer)
        code = ExitCode.USAGE if response.status == 400 else ExitCode.REFUSED
        raise RaceError(code, f"{response.status}: {detail_of(answer)}")

    async def measure_clock(self) -> tuple[float, float]:
        """Return the server's clock minus ours, and how far it may be off, in seconds.

        Cristian's algorithm: the shortest of some round trips is the least uncertain.
        """
        samples = [await self.ask_clock() for _ in range(CLOCK_SAMPLES)]
        round_trip, offset = min(samples)
        return offset, round_trip / 2

    async def ask_clock(self) -> tuple[float, float]:
        """Return one round trip and the offset that it shows, in seconds."""
        asked = time.time()
        await self.stream.write(
            self.browser.get("/transports/clock", "application/json")
        )
        response = await self.stream.head()
        now = json.loads(await self.stream.body(response))["now_us"] / 1e6
        answered = time.time()
        return answered - asked, now - (asked + answered) / 2
