"""The nodes page in a browser: live figures, and nodes that start and stop."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, WebSocket, expect

from echo.tests.browser.conftest import note_complaint
from echo.tests.live import PATIENCE_SECONDS, LiveSite

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "/admin/echo/node/"
OPEN = "main[data-state=open]"
SECONDS_OF_QUIET = 2.5
# Longer than a hidden page goes on watching.
LONG_MS = 601_000
# Prints the session of somebody who may see the nodes and end connections, and a token to publish with.
SIGN_IN = """
from django.contrib.auth.models import Permission, User
from django.test import Client
from echo.models import Token
user = User.objects.create_user("watcher", is_staff=True)
may = ["view_node", "view_connection", "end_connection"]
user.user_permissions.set(Permission.objects.filter(codename__in=may))
client = Client()
client.force_login(user)
token = Token(name="watcher")
secret = token.renew_secret()
token.save()
print(client.cookies["sessionid"].value, f"{token.pk}.{secret}")
"""
OF_DELIVERIES = (
    "events_per_second",
    "deliveries_per_second",
    "delay_p50_ms",
    "delay_p99_ms",
)
# A figure may be told for a second only, so it is looked for with every frame.
IS_ABOVE = """([name, limit]) =>
  Number(document.querySelector(`[data-now=${name}]`).textContent) > limit"""

# True when a line has the colour of the admin's links in its theme.
HAS_LINE = """() => {
  const canvas = document.querySelector(".plot[data-figures=connections] canvas");
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", {
    willReadFrequently: true,
  });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  const style = getComputedStyle(document.documentElement);
  const code = Number.parseInt(style.getPropertyValue("--link-fg").slice(1), 16);
  const wanted = [code >> 16, (code >> 8) & 255, code & 255];
  for (let i = 0; i < data.length; i += 4) {
    const isClose = (part, place) => Math.abs(data[i + place] - part) < 8;
    if (data[i + 3] > 240 && wanted.every(isClose)) return true;
  }
  return false;
}"""


class Operator:
    """An operator of a site, who may view its nodes and publish."""

    def __init__(self, site: LiveSite) -> None:
        self.site = site
        printed = site.manage("shell", "-v0", "-c", SIGN_IN)
        self.session, self.token = printed.split()

    async def watch(self, page: Page) -> None:
        """Open the nodes page, signed in."""
        cookie = {"name": "sessionid", "value": self.session, "url": self.site.url}
        await page.context.add_cookies([cookie])  # type: ignore[list-item]
        await page.goto(self.site.url + URL)

    async def publish(self, topic: str) -> int:
        """Publish an event; return its number."""
        event = {"topic": topic, "data": "here"}
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.site.url, trust_env=False) as client:
            response = await client.post("/feed/publish", headers=headers, json=event)
        response.raise_for_status()
        return int(response.json()["id"].rpartition("-")[2])


@pytest.fixture(scope="session")
def operator(site: LiveSite) -> Operator:
    return Operator(site)


async def becomes_above(page: Page, figure: str, limit: int) -> None:
    """Wait until the current figure is above the limit."""
    await page.wait_for_function(IS_ABOVE, arg=[figure, limit], polling="raf")


@asynccontextmanager
async def visitor(browser: Browser, site: LiveSite) -> AsyncIterator[BrowserContext]:
    """A browser context of another visitor."""
    context = await browser.new_context(base_url=site.url)
    yield context
    await context.close()


# --- the graph -------------------------------------------------------------------------


async def test_the_graph_shows_connections_and_deliveries_as_they_come(
    browser: Browser, page: Page, operator: Operator
) -> None:
    await operator.watch(page)
    connections = page.locator("[data-now=connections]")
    await expect(connections).to_have_text("1")
    async with visitor(browser, operator.site) as context:
        reader = await context.new_page()
        await reader.goto("/live/?topic=nodes.graph")
        await reader.wait_for_selector(OPEN)
        await expect(connections).to_have_text("2")
        expected = asyncio.gather(
            *(becomes_above(page, figure, 0) for figure in OF_DELIVERIES)
        )
        while not expected.done():
            await operator.publish("nodes.graph")
            await asyncio.sleep(0.5)
        await expected
    await expect(connections).to_have_text("1")


async def test_the_graphs_past_is_replayed_after_a_reload(
    page: Page, operator: Operator
) -> None:
    await operator.watch(page)
    await becomes_above(page, "connections", 0)
    told_at = datetime.now().astimezone()
    frames: asyncio.Queue[str] = asyncio.Queue()
    page.on("websocket", lambda socket: keep_frames(socket, frames))
    await page.reload()
    first = await next_event(frames)
    assert datetime.fromisoformat(first["sent_at"]) < told_at
    assert "connections" in first["data"]


def keep_frames(socket: WebSocket, frames: "asyncio.Queue[str]") -> None:
    socket.on("framereceived", lambda frame: frames.put_nowait(str(frame)))


async def next_event(frames: "asyncio.Queue[str]") -> dict:
    """Return the next event among the frames."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (frame := json.loads(await frames.get()))["type"] != "event":
            pass
    return frame


async def test_the_cursor_reads_what_the_lines_have(
    page: Page, operator: Operator
) -> None:
    await operator.watch(page)
    await becomes_above(page, "connections", 0)
    plot = page.locator(".plot[data-figures=connections] .u-over")
    box = await plot.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    moment = re.compile(r"^\d\d:\d\d:\d\d · ")
    for reading in await page.locator(".at-cursor").all():
        await expect(reading).to_have_text(moment)
    await page.mouse.move(box["x"], 0)
    await expect(page.locator(".at-cursor").first).to_have_text("")


async def test_figures_are_published_only_while_they_are_read(
    page: Page, operator: Operator
) -> None:
    await operator.watch(page)
    await eventually(figures_are_published, operator)
    await page.close()
    await eventually(nobody_reads, operator)
    await eventually(nothing_is_published, operator)
    assert await nothing_is_published(operator)


async def eventually(
    condition: Callable[[Operator], Awaitable[bool]], operator: Operator
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition(operator):  # noqa: ASYNC110 -- asks another process
            await asyncio.sleep(0.05)


async def figures_are_published(operator: Operator) -> bool:
    return not await nothing_is_published(operator)


async def nobody_reads(operator: Operator) -> bool:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client:
        answer = await client.get(f"{operator.site.url}/readyz")
    return answer.json()["connections"] == 0


async def nothing_is_published(operator: Operator) -> bool:
    """Return whether nothing else is published for a few seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS_OF_QUIET
    number = await operator.publish("nodes.marker")
    while loop.time() < end:
        await asyncio.sleep(0.1)
        previous, number = number, await operator.publish("nodes.marker")
        if number != previous + 1:
            return False
    return True


# As a browser does when its user looks at another tab; the feed's state after that.
HIDE = """isHidden => {
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
  return document.querySelector("main").dataset.state;
}"""


async def test_a_disconnected_page_does_not_reconnect_when_it_is_shown_again(
    context: BrowserContext, page: Page, operator: Operator
) -> None:
    await page.clock.install()
    await operator.watch(page)
    await page.wait_for_selector(OPEN)
    other = await context.new_page()
    await other.goto(f"{operator.site.url}/admin/echo/connection/?topic=staff.stats")
    await other.check("#action-toggle")
    await other.select_option("select[name=action]", "disconnect")
    await other.get_by_role("button", name="Go").click()
    await other.get_by_role("button", name="Yes, I’m sure").click()
    await expect(page.locator("#feed-problem")).to_contain_text("4503")
    assert await page.evaluate(HIDE, True) == "closed"
    assert await page.evaluate(HIDE, False) == "closed"
    await page.evaluate(HIDE, True)
    await page.clock.fast_forward(LONG_MS)
    assert await page.evaluate(HIDE, False) == "closed"
    await expect(page.locator("#feed-problem")).to_contain_text("4503")


async def test_a_page_hidden_for_long_reads_again_when_it_is_shown(
    page: Page, operator: Operator
) -> None:
    await page.clock.install()
    await operator.watch(page)
    await page.wait_for_selector(OPEN)
    assert await page.evaluate(HIDE, True) == "open"
    await page.clock.fast_forward(LONG_MS)
    await page.wait_for_selector("main[data-state=closed]")
    assert await page.evaluate(HIDE, False) == "connecting"
    await page.wait_for_selector(OPEN)


# --- the page --------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 768, 1024])
async def test_the_page_never_scrolls_sideways(
    page: Page, operator: Operator, width: int
) -> None:
    await page.set_viewport_size({"width": width, "height": 844})
    await operator.watch(page)
    await page.wait_for_selector(OPEN)
    root = "document.documentElement"
    assert await page.evaluate(f"{root}.scrollWidth") == width
    charts = page.locator(".uplot")
    for chart in await charts.all():
        box = await chart.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width
    await expect(charts).to_have_count(4)


# How many pixels of the table are out of sight when a busy site's figures are in it.
CUT = """() => {
  const say = (selector, text) => {
    document.querySelector(`#nodes ${selector}`).textContent = text;
  };
  say(".wire", "k3Zp9w1q-1234567");
  say("[data-label=Connections] div", "21,402");
  for (const text of ["Long poll 402", "SSE 10,000", "WebSocket 11,000"]) {
    const more = document.createElement("span");
    more.className = "more";
    more.textContent = text;
    document.querySelector("#nodes [data-label=Connections] div").append(more);
  }
  say("[data-label='Events/s'] div", "1,234.5");
  say("[data-label='Deliveries/s'] div", "123,456.7");
  say("[data-label=Memory] div", "1023.9 MB");
  const { scrollWidth, clientWidth } = document.querySelector("#nodes");
  return scrollWidth - clientWidth;
}"""


@pytest.mark.parametrize("width", [390, 1024, 1280])
async def test_no_column_of_a_busy_sites_table_is_cut(
    page: Page, operator: Operator, width: int
) -> None:
    await page.set_viewport_size({"width": width, "height": 844})
    await operator.watch(page)
    assert await page.evaluate(CUT) == 0


async def test_the_graph_fills_the_width(page: Page, operator: Operator) -> None:
    await operator.watch(page)
    chart = page.locator(".uplot").first
    for width in (1280, 600, 390):
        await page.set_viewport_size({"width": width, "height": 844})
        plot = await page.locator(".plot").first.bounding_box()
        assert plot is not None
        await expect(chart).to_have_css("width", f"{plot['width']:g}px")


async def test_the_graph_is_drawn_in_the_colours_of_each_theme(
    page: Page, operator: Operator
) -> None:
    await operator.watch(page)
    await page.wait_for_function(HAS_LINE, polling="raf")
    for _ in ("dark", "light", "auto"):
        await page.click(".theme-toggle")
        await page.wait_for_function(HAS_LINE, polling="raf")
    await page.emulate_media(color_scheme="dark")
    await page.wait_for_function(HAS_LINE, polling="raf")


async def test_without_javascript_there_is_the_table(
    browser: Browser, operator: Operator
) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await operator.watch(page)
    await expect(page.locator("[data-id]")).to_have_count(1)
    await expect(page.locator("#graph")).to_be_hidden()
    # Playwright takes a noscript for empty, whatever the browser makes of it.
    assert "The graph needs JavaScript" in await page.content()
    await context.close()


# --- nodes come and go -----------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser) -> AsyncIterator[Page]:
    """A tab whose only allowed errors are those of a server that is away."""
    context = await browser.new_context()
    complaints: list[str] = []
    context.on("console", lambda message: note_complaint(message, complaints))
    context.on("weberror", lambda error: complaints.append(f"uncaught: {error.error}"))
    yield await context.new_page()
    await context.close()
    assert [c for c in complaints if "ERR_CONNECTION_REFUSED" not in c] == []


async def test_a_node_that_is_killed_leaves_the_list(
    tab: Page, first: LiveSite, second: LiveSite
) -> None:
    assert first.process is not None
    assert second.process is not None
    operator = await asyncio.to_thread(Operator, first)
    await operator.watch(tab)
    await tab.wait_for_selector(OPEN)
    rows = tab.locator("#nodes [data-id]")
    # A process begins to tell of itself when it is first asked for the feed.
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client:
        await client.get(f"{second.url}/readyz")
    await expect(rows).to_have_count(2)
    own = rows.filter(has_text=str(first.process.pid))
    await expect(rows.filter(has_text=str(second.process.pid))).to_have_count(1)
    await expect(rows.locator("[data-label='Channel layer']")).to_have_text(["up"] * 2)
    await own.evaluate("row => { row.isKept = true; }")
    second.process.kill()
    await expect(rows).to_have_count(1)
    assert await own.evaluate("row => row.isKept")


async def test_the_page_recovers_when_the_server_is_back(
    tab: Page, first: LiveSite
) -> None:
    operator = await asyncio.to_thread(Operator, first)
    await operator.watch(tab)
    await tab.wait_for_selector(OPEN)
    problem = tab.locator("#table-problem")
    await expect(problem).to_be_empty()
    await asyncio.to_thread(first.stop)
    await expect(problem).to_contain_text("The server does not answer")
    await tab.wait_for_selector("main[data-state=waiting]")
    await asyncio.to_thread(first.start)
    await expect(problem).to_be_empty()
    await tab.wait_for_selector(OPEN)
    await becomes_above(tab, "connections", 0)
