"""The race: its settings, its bounds, and what one visitor can cost; on both servers."""

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.utils.translation import override
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from echo.lab import race as lab
from echo.lab.bounds import LabError
from echo.lab.race import Budget, Race, event_data
from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite

CSRF_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


# --- the settings ----------------------------------------------------------------------


def test_a_race_has_defaults_and_a_topic_of_its_own() -> None:
    one, other = Race.of({}), Race.of({})
    assert (one.events, one.rate, one.size, one.scenario) == (20, 4.0, 200, "steady")
    assert one.topic != other.topic
    assert lab.RACE_ID.fullmatch(one.id)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"events": 0}, "events: expected a number from 1 to 500, got 0"),
        ({"events": 501}, "events: expected a number from 1 to 500, got 501"),
        ({"events": "9"}, "events: expected a number from 1 to 500, got '9'"),
        ({"rate": 101}, "rate: expected a number from 0.1 to 100, got 101"),
        ({"size": 63}, "size: expected a number from 64 to 4096, got 63"),
        ({"size": 4097}, "size: expected a number from 64 to 4096, got 4097"),
        (
            {"scenario": "x"},
            "scenario: expected one of steady, sparse, burst, cut, slow",
        ),
        ({"scenario": "sparse", "events": 7}, "from 1 to 6, got 7"),
        ({"rate": 0.1, "events": 7}, "expected a race of at most 50 seconds"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(LabError, match=re.escape(reason)) as refused:
        Race.of(settings)
    assert refused.value.status == 400


def test_a_reservation_can_be_started_on_any_node() -> None:
    race = Race.of({"scenario": "cut"})
    assert Race.of_token(race.token) == race


@pytest.mark.parametrize("token", [None, 7, "", "x", "a:b:c", Race.of({}).token[:-1]])
def test_a_token_that_the_site_has_not_signed_is_refused(token: Any) -> None:
    with pytest.raises(LabError, match="token: expected that of a race reserved"):
        Race.of_token(token)


def test_a_reservation_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    token = Race.of({}).token
    monkeypatch.setattr(lab, "RESERVED_SECONDS", -1)
    with pytest.raises(LabError):
        Race.of_token(token)


@pytest.mark.parametrize("size", [64, 65, 200, 4096])
@pytest.mark.parametrize("index", [0, 499])
def test_an_event_has_exactly_the_size_that_was_asked_for(
    size: int, index: int
) -> None:
    data = event_data(index, size)
    assert len(json.dumps(data, separators=(",", ":"))) == size
    assert data["index"] == index


# --- the bounds ------------------------------------------------------------------------


def test_one_address_cannot_hold_all_races() -> None:
    with lab.slots.slot("192.0.2.1"), lab.slots.slot("192.0.2.1"):
        with pytest.raises(LabError, match="at most 2 of these .* from one address"):
            lab.refuse_if_full("192.0.2.1")
        lab.refuse_if_full("192.0.2.2")
    assert lab.slots.running == 0


def test_five_races_run_at_once_and_the_sixth_is_refused() -> None:
    slots = [lab.slots.slot("127.0.0.1") for _ in range(5)]
    for slot in slots:
        slot.__enter__()
    with pytest.raises(LabError) as refused:
        lab.refuse_if_full("192.0.2.1")
    assert refused.value.status == 429
    for slot in slots:
        slot.__exit__(None, None, None)
    lab.refuse_if_full("192.0.2.1")


def test_what_all_races_add_to_the_log_has_a_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(lab.time, "monotonic", lambda: now)
    budget = Budget(100, 50)
    budget.spend(90)
    with pytest.raises(LabError, match="Try again in 20 seconds") as refused:
        budget.spend(50)
    assert refused.value.status == 429
    now += 20
    budget.spend(50)


def test_one_address_cannot_spend_what_all_races_may_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lab, "budget", Budget(lab.LOGGED_BYTES, lab.REFILL_SECONDS))
    monkeypatch.setattr(lab, "shares", OrderedDict())
    largest = Race.of({"scenario": "burst", "events": 500, "size": 4096})
    for _ in range(3):
        lab.spend(largest, "192.0.2.1")
    with pytest.raises(LabError, match="many races lately"):
        lab.spend(largest, "192.0.2.1")
    lab.spend(largest, "192.0.2.2")


async def test_a_slow_log_does_not_hold_a_race_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slow_publish(events: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(lab, "MAX_RUN_SECONDS", 0.01)
    monkeypatch.setattr(lab.feed, "apublish_many", slow_publish)
    with pytest.raises(LabError) as refused:
        await lab.run(Race.of({}), "127.0.0.1")
    assert refused.value.status == 503
    assert lab.slots.running == 0


# --- over sockets ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=COMMANDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    with LiveSite(request.param, tmp_path_factory.mktemp("site")) as running:
        yield running


class Visitor:
    """A page's requests beside its lanes."""

    def __init__(self, site: LiveSite, language: str = "en") -> None:
        self.client = httpx.AsyncClient(
            base_url=site.url,
            timeout=PATIENCE_SECONDS,
            trust_env=False,
            headers={"Accept-Language": language},
        )

    async def __aenter__(self) -> "Visitor":
        page = await self.client.get("/transports/")
        token = CSRF_TOKEN.search(page.text)
        assert token
        self.client.headers["X-CSRFToken"] = token[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.client.aclose()

    async def reserve(self, **settings: Any) -> httpx.Response:
        return await self.client.post("/transports/races", json=settings)

    async def start(self, reserved: httpx.Response) -> httpx.Response:
        token = reserved.json()["token"]
        return await self.client.post("/transports/races/start", json={"token": token})


async def next_event(socket: ClientConnection) -> Any:
    """Return the data of the next event on a lane."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            frame = json.loads(await socket.recv())
            if "index" in frame:
                return frame
            if frame["type"] == "event":
                return frame["data"]


async def test_the_feed_and_the_group_get_the_same_events(site: LiveSite) -> None:
    async with Visitor(site) as visitor:
        reserved = await visitor.reserve(events=3, rate=100, size=80)
        race = reserved.json()
        feed = f"{site.ws_url}/feed/ws?topic={race['topic']}"
        stock = f"{site.ws_url}/transports/stock?race={race['id']}"
        async with connect(feed) as one, connect(stock) as other:
            await one.recv()  # hello
            started = await visitor.start(reserved)
            assert started.json() == {"published": 3}
            got = [await next_event(one) for _ in range(3)]
            assert [event["index"] for event in got] == [0, 1, 2]
            assert [await next_event(other) for _ in range(3)] == got


async def test_a_burst_is_published_at_once(site: LiveSite) -> None:
    async with Visitor(site) as visitor:
        reserved = await visitor.reserve(events=50, scenario="burst")
        assert (await visitor.start(reserved)).json() == {"published": 50}
        topic = reserved.json()["topic"]
        polled = await visitor.client.get(f"/feed/poll?topic={topic}&since=earliest")
        assert len(polled.json()["events"]) == 50


async def test_a_race_is_started_once(site: LiveSite) -> None:
    async with Visitor(site) as visitor:
        reserved = await visitor.reserve(events=1)
        assert (await visitor.start(reserved)).status_code == 200
        again = await visitor.start(reserved)
        assert again.status_code == 409
        assert "started already" in again.json()["detail"]


async def test_a_refusal_is_in_the_visitors_language(site: LiveSite) -> None:
    async with Visitor(site, "zh-hans") as visitor:
        refused = await visitor.reserve(events=501)
        assert refused.status_code == 400
    with override("zh-hans"), pytest.raises(LabError) as same:
        Race.of({"events": 501})
    assert refused.json()["detail"] == str(same.value)


async def test_a_visitor_who_leaves_frees_the_race(site: LiveSite) -> None:
    """Five races fill the process; the sixth is refused until one visitor leaves."""
    async with Visitor(site) as visitor:
        reserved = [await visitor.reserve(events=500, rate=10) for _ in range(5)]
        running = [asyncio.create_task(visitor.start(one)) for one in reserved]
        topics = [one.json()["topic"] for one in reserved]
        for topic in topics:
            await first_event(visitor, topic)
        refused = await visitor.reserve()
        assert refused.status_code == 429
        assert "at most 5" in refused.json()["detail"]
        for race in running:
            race.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await until_accepted(visitor)
        # The tasks have stopped with their races.
        assert await count(visitor, topics) == await count(visitor, topics)


async def until_accepted(visitor: Visitor) -> None:
    """Wait until a race would be accepted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await visitor.reserve()).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def first_event(visitor: Visitor, topic: str) -> None:
    path = f"/feed/poll?topic={topic}&since=earliest&wait=30"
    assert (await visitor.client.get(path)).json()["events"]


async def count(visitor: Visitor, topics: list[str]) -> int:
    """Return how many events the topics have, once a later event of another has come."""
    reserved = await visitor.reserve(events=3, rate=10)
    await visitor.start(reserved)
    counts = []
    for topic in topics:
        polled = await visitor.client.get(f"/feed/poll?topic={topic}&since=earliest")
        counts.append(len(polled.json()["events"]))
    return sum(counts)


async def test_the_stock_consumer_takes_a_race_and_nothing_else(site: LiveSite) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{site.ws_url}/transports/stock?race=x")
    assert refused.value.response.status_code == 400


async def test_the_site_tells_the_size_of_a_requests_head(site: LiveSite) -> None:
    head = (
        "GET /transports/head?a=b HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 1\r\n"
        "Accept: application/json\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head.encode())
    answer = (await reader.read()).decode()
    writer.close()
    told = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
    assert told["head_bytes"] == len(head) - len("X-Forwarded-For: 1\r\n")


async def test_a_slow_network_delays_every_message(site: LiveSite) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with connect(f"{site.ws_url}/transports/slow/feed/ws?topic=a") as socket:
        await socket.recv()
    # One way for the handshake's request, one for its response.
    assert loop.time() - began >= 0.5


def test_nothing_is_left_of_the_races(site: LiveSite) -> None:
    """Last in this module: no task of a race has failed in the server."""
    assert "Traceback" not in site.log
