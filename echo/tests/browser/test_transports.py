"""The race, as a visitor runs it; and what it counts, compared with the wire."""

import json
import shlex
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec

import pytest
from playwright.async_api import Browser, Page, expect

from echo.tests.lab.countingproxy import Count, CountingProxy
from echo.tests.live import ROOT, LiveSite

pytestmark = pytest.mark.asyncio(loop_scope="session")

FEED = ["shortpoll", "longpoll", "sse", "websocket"]
LANES = [*FEED, "stock"]
OVER = "#race[data-state=over]"
FIGURES = """() => Object.fromEntries(
  [...document.querySelectorAll("article[data-lane]")].map(({ dataset: { lane } }) => [
    lane,
    Object.fromEntries(
      [...document.querySelectorAll(`tr[data-lane=${lane}] [data-figure]`)].map(
        (cell) => [cell.dataset.figure, Number(cell.textContent.replaceAll(",", ""))],
      ),
    ),
  ]),
)"""
# Events that come one by one, to a long poll too, unless the machine halts for a second.
SETTINGS = {"events": 4, "rate": 1, "size": 200}
ATTEMPTS = 5

Figures = dict[str, dict[str, float]]


async def race(page: Page, address: str) -> Figures:
    """Run a race, and return the figures of its lanes."""
    await page.goto(address)
    await page.get_by_role("button", name="Start the race").click()
    await page.wait_for_selector(f"{OVER}, #race[data-state=failed]")
    await expect(page.locator("#problem")).to_be_empty()
    figures: Figures = await page.evaluate(FIGURES)
    return figures


def of_lanes(figures: Figures, name: str) -> dict[str, float]:
    return {lane: figure[name] for lane, figure in figures.items()}


# --- what a visitor sees ---------------------------------------------------------------


async def test_a_steady_race_loses_nothing(page: Page) -> None:
    figures = await race(page, "/transports/?events=8&rate=8")
    assert of_lanes(figures, "events") == dict.fromkeys(LANES, 8)
    await expect(page.locator("#status")).to_have_text(
        "8 events on each lane: none was lost."
    )
    requests = of_lanes(figures, "requests")
    assert requests["sse"] == requests["websocket"] == requests["stock"] == 1
    assert requests["longpoll"] > requests["shortpoll"] > 1
    assert figures["shortpoll"]["p50"] > figures["websocket"]["p50"]
    await expect(page.locator(".dots[d^=M]")).to_have_count(len(LANES))
    await expect(page.locator("#clock")).to_contain_text("±")


async def test_a_cut_loses_events_of_the_stock_lane_only(page: Page) -> None:
    figures = await race(page, "/transports/?events=15&rate=5&scenario=cut")
    lost = of_lanes(figures, "lost")
    missed = lost.pop("stock")
    assert missed > 0
    assert lost == dict.fromkeys(FEED, 0)
    await expect(page.locator("#status")).to_have_text(
        f"15 events. Lost: 0 on the four lanes of the feed, {missed:.0f} on the stock "
        "consumer's."
    )
    marks = await page.locator("[data-lane=stock] .lost").get_attribute("d")
    assert (marks or "").count("M") == missed


async def test_a_slow_network_delays_every_lane(page: Page) -> None:
    figures = await race(page, "/transports/?events=3&scenario=slow")
    assert of_lanes(figures, "lost") == dict.fromkeys(LANES, 0)
    assert min(of_lanes(figures, "p50").values()) >= 250


async def test_the_settings_are_in_the_address(page: Page) -> None:
    await page.goto("/transports/?events=7&scenario=cut")
    await expect(page.get_by_label("Events", exact=True)).to_have_value("7")
    await page.get_by_label("A burst").check()
    await expect(page.get_by_label("Events a second")).to_be_disabled()
    await page.get_by_label("Bytes of data").fill("300")
    assert page.url.endswith("/transports/?events=7&scenario=burst&size=300")
    await expect(page.locator("#command")).to_contain_text(
        "--events 7 --size 300 --scenario burst"
    )


async def test_a_race_can_be_stopped_and_another_one_started(page: Page) -> None:
    await page.goto("/transports/?events=500&rate=10")
    start = page.get_by_role("button", name="Start the race")
    await start.press("Enter")
    await page.wait_for_selector("#race[data-state=racing]")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#status")).to_have_text(
        "Stopped: the server publishes no more."
    )
    await expect(start).to_be_visible()


async def test_a_refusal_is_shown_with_its_reason(
    browser: Browser, site: LiveSite
) -> None:
    context = await browser.new_context(base_url=site.url)  # one that may log an error
    page = await context.new_page()
    await page.goto("/transports/")
    await page.get_by_label("Events a second").fill("0.1")
    await page.get_by_role("button", name="Start the race").click()
    await expect(page.locator("#problem")).to_contain_text(
        "expected a race of at most 50 seconds"
    )
    await context.close()


# --- what it counts --------------------------------------------------------------------


async def test_page_and_command_count_what_is_on_the_wire(
    browser: Browser, site: LiveSite
) -> None:
    """Page, command, and a proxy that both go through agree within 1 % on each lane.

    A machine that halts for a second makes one race poll once more than the other: such a
    pair is not of the same length, and another one is run.
    """
    for _ in range(ATTEMPTS):
        seen, printed = await count_both(browser, site)
        if requests_of(seen) == requests_of(printed):
            break
    assert requests_of(seen) == requests_of(printed)
    for lane in LANES:
        assert_close(seen[lane], printed[lane], lane)


async def count_both(
    browser: Browser, site: LiveSite
) -> tuple[dict[str, Count], dict[str, Count]]:
    """Run the same race on the page and from the shell; check both with the wire."""
    async with CountingProxy(site.port) as proxy:
        seen, command = await page_race(browser, proxy)
        printed = await command_race(command)
        of_page, of_command = (
            counts
            for counts in proxy.counts.values()
            if set(counts) == set(LANES)  # not what the page measures before its race
        )
    for lane in LANES:
        assert_close(seen[lane], of_page[lane], lane)
        assert_close(printed[lane], of_command[lane], lane)
    return seen, printed


def requests_of(counts: dict[str, Count]) -> dict[str, int]:
    return {lane: count.requests for lane, count in counts.items()}


def assert_close(counted: Count, expected: Count, lane: str) -> None:
    assert counted.requests == expected.requests, lane
    assert counted.sent == pytest.approx(expected.sent, rel=0.01), lane
    assert counted.received == pytest.approx(expected.received, rel=0.01), lane


async def page_race(
    browser: Browser, proxy: CountingProxy
) -> tuple[dict[str, Count], list[str]]:
    """Return the figures on the page, and its command for the same race."""
    context = await browser.new_context(base_url=proxy.url)
    query = "&".join(f"{name}={value}" for name, value in SETTINGS.items())
    page = await context.new_page()
    figures = await race(page, f"/transports/?{query}")
    command = shlex.split(await page.locator("#command").inner_text())
    await context.close()
    counts = {
        lane: Count(int(one["requests"]), int(one["sent"]), int(one["received"]))
        for lane, one in figures.items()
    }
    return counts, command


async def command_race(command: list[str]) -> dict[str, Count]:
    words = [sys.executable, *command, "--json"]
    process = await create_subprocess_exec(*words, stdout=PIPE, cwd=ROOT)
    output, _ = await process.communicate()
    return {
        lane: Count(one["requests"], one["bytes_sent"], one["bytes_received"])
        for lane, one in json.loads(output).items()
    }
