"""The live feed in a browser: nothing is lost, and nothing comes twice."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    JSHandle,
    Page,
    expect,
)

from echo.tests.browser.conftest import CHROMIUM_ARGUMENTS, find_chromium
from echo.tests.live import LiveSite, wait_until
from echo.tests.transports.adapters import Publisher, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN = "main[data-state=open]"
TRANSPORTS = ["websocket", "sse", "longpoll", "shortpoll"]
# As in echo/static/echo/feed/feed.js: a leading tab that says nothing for so long is silent.
SILENCE_MS = 50_000
# What has to be out of reach for a transport to be fallen back on.
BLOCKED = {
    "sse": r"/feed/ws",
    "longpoll": r"/feed/(ws|sse)",
    "shortpoll": r"/feed/(ws|sse|poll\?.*wait=)",
}
# What a reader misses in a cut, and what the page tells of it.
MISSED = {
    (): "0 events recovered",
    ("one",): "1 event recovered",
    ("two", "three", "four"): "3 events recovered",
}
MAKE_STAFF = """
from django.contrib.auth.models import Permission, User
user = User.objects.create_user("{name}", password="live-live", is_staff=True)
user.user_permissions.add(Permission.objects.get(codename="add_event"))
"""
# A constructor that fails as a proxy that knows no WebSocket makes it fail.
NO_WEBSOCKET = """
window.WebSocket = class extends EventTarget {
  constructor() { super(); setTimeout(() => this.onclose?.({ code: 1006 })); }
  close() {}
};
"""
MAKE_TOKEN = """
from echo.models import Token
token = Token(name="tests", topics="*")
secret = token.renew_secret()
token.save()
print(f"{token.pk}.{secret}")
"""
Publish = Callable[..., Awaitable[list[str]]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """The site with a URL that closes connections; conftest.py's is on Daphne."""
    settings = {"DJANGO_SETTINGS_MODULE": "echo.tests.settings_operator"}
    with LiveSite("uvicorn", tmp_path_factory.mktemp("live"), **settings) as live:
        yield live


@pytest.fixture(scope="module")
def publisher(site: LiveSite) -> Publisher:
    token = site.manage("shell", "-v0", "-c", MAKE_TOKEN).strip()
    return Publisher(site, token)


@pytest.fixture
def publish(publisher: Publisher) -> Publish:
    """Publish over HTTP: a command would take a second."""

    async def publish(topic: str, *data: str) -> list[str]:
        return await asyncio.to_thread(publisher, topic, *data)

    return publish


@pytest.fixture
def topic() -> str:
    """A topic that only this test uses."""
    return f"live.{secrets.token_hex(4)}"


@pytest_asyncio.fixture(loop_scope="session")
async def hindered_page(browser: Browser, site: LiveSite) -> AsyncIterator[Page]:
    """A tab that may log errors about what it cannot reach."""
    context = await browser.new_context(base_url=site.url)
    yield await context.new_page()
    await context.close()


async def visit(page: Page, topic: str, transport: str = "") -> None:
    await page.goto(f"/live/?topic={topic}&transport={transport}")
    await page.wait_for_selector(OPEN)


async def expect_events(page: Page, *texts: str) -> None:
    """Wait until the log has exactly these events, in this order."""
    payloads = page.locator("#output [data-direction=received] .payload")
    await expect(payloads).to_have_text([json.dumps(text) for text in texts])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_event_appears_on_each_transport(
    page: Page, publish: Publish, topic: str, transport: str
) -> None:
    await visit(page, topic, transport)
    await expect(page.locator("#feed-transport")).to_have_text(transport)
    await publish(topic, "hello")
    await expect_events(page, "hello")
    await expect(page.locator("#cursor")).to_have_text(re.compile(r"^\w{8}-\d+$"))
    await expect(page.locator("#round-trip")).to_have_text(re.compile(r"[\d.]+ ms"))


@pytest.mark.parametrize("transport", BLOCKED)
async def test_what_cannot_be_opened_is_fallen_back_from(
    hindered_page: Page, publish: Publish, topic: str, transport: str
) -> None:
    page = hindered_page
    await page.add_init_script(NO_WEBSOCKET)
    await page.route(re.compile(BLOCKED[transport]), lambda route: route.abort())
    await visit(page, topic)
    await expect(page.locator("#feed-transport")).to_have_text(transport)
    await publish(topic, "fallen back")
    await expect_events(page, "fallen back")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_cut_loses_nothing_and_shows_it(
    hindered_page: Page, publish: Publish, topic: str, transport: str
) -> None:
    page = hindered_page
    await visit(page, topic, transport)
    events = ["before"]
    await publish(topic, *events)
    await expect_events(page, *events)
    for missed, told in MISSED.items():
        await page.context.set_offline(True)
        await page.click("#cut")
        await page.wait_for_selector("main:not([data-state=open])")
        if missed:
            await publish(topic, *missed)
        await page.context.set_offline(False)
        await expect(page.locator("#recovery")).to_have_text(
            re.compile(rf"^reconnected after [\d.]+ s, {told}, 0 lost$")
        )
        after = f"after {told}"
        await publish(topic, after)
        events += [*missed, after]
        await expect_events(page, *events)


async def test_a_freeze_loses_nothing_and_shows_it(
    page: Page, publish: Publish, topic: str
) -> None:
    await visit(page, topic)
    frozen = asyncio.Event()
    await page.expose_function("freezing", frozen.set)
    await page.evaluate(
        """() => {
          const button = document.querySelector("#freeze");
          button.dataset.seconds = 4;
          button.addEventListener("click", () => freezing(), { capture: true });
        }"""
    )
    clicking = asyncio.create_task(page.click("#freeze"))
    await frozen.wait()
    await publish(topic, "one", "two")
    await clicking
    await expect(page.locator("#recovery")).to_have_text(
        re.compile(r"^frozen for [\d.]+ s, 2 events recovered, 0 lost$")
    )
    await expect_events(page, "one", "two")


async def test_a_reload_loses_nothing_and_doubles_nothing(
    page: Page, publish: Publish, topic: str
) -> None:
    await visit(page, topic)
    await publish(topic, "before")
    await expect_events(page, "before")
    address = page.url
    await page.goto("/")
    await publish(topic, "meanwhile")
    await page.goto(address)
    await page.wait_for_selector(OPEN)
    await expect_events(page, "before", "meanwhile")
    await page.reload()
    await page.wait_for_selector(OPEN)
    await publish(topic, "after")
    await expect_events(page, "before", "meanwhile", "after")


async def test_two_tabs_share_a_connection_and_survive_the_first(
    context: BrowserContext, publish: Publish, topic: str
) -> None:
    first, second = await context.new_page(), await context.new_page()
    sockets: list[str] = []
    for tab in (first, second):
        tab.on("websocket", lambda socket: sockets.append(socket.url))
        await visit(tab, topic)
    await expect(second.locator("#feed-transport")).to_have_text(
        "websocket, of another tab"
    )
    await publish(topic, "to both")
    for tab in (first, second):
        await expect_events(tab, "to both")
    assert len(sockets) == 1
    await first.close()
    await publish(topic, "to the other")
    await expect(second.locator("#feed-transport")).to_have_text("websocket")
    await expect_events(second, "to both", "to the other")
    assert len(sockets) == 2


async def test_who_may_publish_does_so_from_the_page(
    page: Page, site: LiveSite, topic: str
) -> None:
    name = topic.replace(".", "-")
    await asyncio.to_thread(
        site.manage, "shell", "-v0", "-c", MAKE_STAFF.format(name=name)
    )
    await page.goto("/admin/login/?next=/live/")
    await page.fill("#id_username", name)
    await page.fill("#id_password", "live-live")
    await page.get_by_role("button", name="Log in").click()
    await visit(page, topic)
    await page.fill("#publish-data", "<b>from the page</b>")
    await page.click("#publish-button")
    await expect(page.locator("#publish-result")).to_have_text(
        re.compile(r"^Published as \w{8}-\d+\.$")
    )
    await expect_events(page, "<b>from the page</b>")


async def test_a_visitor_is_told_how_to_publish(page: Page, topic: str) -> None:
    await visit(page, topic)
    await expect(page.locator("#publish")).to_have_count(0)
    await expect(page.locator("#publish-commands")).to_contain_text(
        f"manage.py broadcast --topic {topic}"
    )


async def test_a_gap_that_cannot_be_filled_is_shown(
    page: Page, publish: Publish, topic: str
) -> None:
    await visit(page, topic)
    address = page.url
    await page.goto("/")
    await page.evaluate(
        """() => {
          const kept = JSON.parse(sessionStorage.getItem("live"));
          sessionStorage.setItem("live", JSON.stringify({ ...kept, cursor: "00000000-1" }));
        }"""
    )
    await page.goto(address)
    await expect(page.locator("#output [data-kind=error]")).to_contain_text(
        "00000000-1 is from another epoch of the log"
    )
    await publish(topic, "goes on")
    await expect_events(page, "goes on")


async def test_topics_and_transport_are_chosen_on_the_page(
    page: Page, publish: Publish, topic: str
) -> None:
    await visit(page, topic)
    await page.fill("#topics", "no..topic")
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.locator("#topics-problem")).to_contain_text("got “no..topic”")
    await page.fill("#topics", f"{topic}.*")
    await page.select_option("#transport", "sse")
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.locator("#feed-transport")).to_have_text("sse")
    await page.wait_for_selector(OPEN)
    await publish(f"{topic}.below", "chosen")
    await expect_events(page, "chosen")
    await expect(page.locator("#code")).to_contain_text(f"topic={topic}.*")


@pytest.mark.parametrize("transport", ["", "websocket", "sse"])
async def test_a_topic_that_may_not_be_read_is_refused_with_the_reason(
    hindered_page: Page, transport: str
) -> None:
    await hindered_page.goto(f"/live/?topic=staff.ops&transport={transport}")
    await expect(hindered_page.locator("main")).to_have_attribute(
        "data-state", "refused"
    )
    await expect(hindered_page.locator("#status")).to_contain_text(
        "Refused: topic: staff.ops may not be read"
    )


async def test_an_unknown_transport_in_the_address_is_none_chosen(
    page: Page, topic: str
) -> None:
    await visit(page, topic, "pigeon")
    await expect(page.locator("#feed-transport")).to_have_text("websocket")
    await expect(page.locator("#transport")).to_have_value("")


# --- what an operator does ------------------------------------------------------------

HELD = ["websocket", "sse", "longpoll"]
CLOSED = "main[data-state=closed]"
AN_HOUR = 3_600_000


async def end(site: LiveSite, topic: str, code: int, reason: str) -> None:
    """Close the connections that read the topic, once there is one."""
    asked = urlencode({"topic": topic, "code": code, "reason": reason})

    def ended() -> int:
        return int(ask(site, f"/end?{asked}").json()["ended"])

    await asyncio.to_thread(wait_until, ended, "somebody to read the topic")


def note_connections(*pages: Page) -> list[str]:
    """Return a list that the feed's URLs are added to as these pages request them."""
    asked: list[str] = []
    for page in pages:
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("request", lambda request: asked.append(request.url))
    return asked


async def wake(page: Page) -> None:
    """Trigger all that makes a page try to connect again, an hour later."""
    await page.clock.fast_forward(AN_HOUR)
    await page.evaluate(
        """() => {
          dispatchEvent(new Event("online"));
          dispatchEvent(new Event("pageshow"));
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )


@pytest.mark.parametrize("transport", HELD)
async def test_who_is_disconnected_stays_away_until_the_visitor_subscribes(
    page: Page, site: LiveSite, publish: Publish, topic: str, transport: str
) -> None:
    await page.clock.install()
    await visit(page, topic, transport)
    await publish(topic, "before")
    await expect_events(page, "before")
    await end(site, topic, 4503, "mind the <b>gap</b>")
    await page.wait_for_selector(CLOSED)
    await expect(page.locator("#status")).to_have_text(
        "Disconnected by an operator: mind the <b>gap</b>. This page does not "
        "reconnect by itself: “Subscribe” goes on from the cursor."
    )
    await expect(page.locator("#output [data-kind=close]")).to_contain_text(
        "BYE4503 mind the <b>gap</b>"
    )
    asked = note_connections(page)
    await wake(page)
    await publish(topic, "meanwhile")
    assert asked == []
    await page.get_by_role("button", name="Subscribe").click()
    await page.wait_for_selector(OPEN)
    await expect_events(page, "before", "meanwhile")


async def test_who_is_disconnected_comes_back_with_a_reload(
    page: Page, site: LiveSite, publish: Publish, topic: str
) -> None:
    await visit(page, topic)
    await end(site, topic, 4503, "disconnected by an operator")
    await expect(page.locator("#status")).to_have_text(
        "Disconnected by an operator. This page does not reconnect by itself: "
        "“Subscribe” goes on from the cursor."
    )
    await publish(topic, "meanwhile")
    await page.reload()
    await page.wait_for_selector(OPEN)
    await expect_events(page, "meanwhile")


@pytest.mark.parametrize("transport", HELD)
async def test_who_is_asked_to_reconnect_comes_back_by_itself(
    page: Page, site: LiveSite, publish: Publish, topic: str, transport: str
) -> None:
    await visit(page, topic, transport)
    await end(site, topic, 4011, "asked to reconnect")
    await publish(topic, "meanwhile")
    await expect(page.locator("#output [data-kind=close]")).to_contain_text(
        "BYE4011 asked to reconnect"
    )
    await page.wait_for_selector(OPEN)
    await publish(topic, "after")
    await expect_events(page, "meanwhile", "after")
    await expect(page.locator("#recovery")).to_have_text(re.compile(r", 0 lost$"))


# --- several tabs ---------------------------------------------------------------------


async def two_tabs(context: BrowserContext, topic: str) -> tuple[Page, Page]:
    """The leading tab, and a following one."""
    await context.clock.install()
    leader, follower = await context.new_page(), await context.new_page()
    await visit(leader, topic)
    await visit(follower, topic)
    await expect(follower.locator("#feed-transport")).to_have_text(
        "websocket, of another tab"
    )
    return leader, follower


async def test_a_browser_that_is_disconnected_stays_away_with_all_its_tabs(
    context: BrowserContext, site: LiveSite, topic: str
) -> None:
    leader, follower = await two_tabs(context, topic)
    await end(site, topic, 4503, "away")
    for tab in (leader, follower):
        await tab.wait_for_selector(CLOSED)
        await expect(tab.locator("#status")).to_contain_text("operator: away.")
    asked = note_connections(follower)
    holder = "async () => (await navigator.locks.query()).held[0].clientId"
    held_by = await follower.evaluate(holder)
    await wake(follower)
    assert await follower.evaluate(holder) == held_by
    await leader.close()
    # Whoever waits for the lead has it once the tab that had it is gone.
    await follower.wait_for_function(
        "async () => (await navigator.locks.query()).held.length === 1"
        " && (await navigator.locks.query()).pending.length === 0"
    )
    await wake(follower)
    assert asked == []
    await expect(follower.locator("main")).to_have_attribute("data-state", "closed")


@pytest.mark.parametrize("who", ["leader", "follower", "newcomer"])
async def test_a_visitor_who_subscribes_in_one_tab_is_back_in_all(
    context: BrowserContext, site: LiveSite, publish: Publish, topic: str, who: str
) -> None:
    leader, follower = await two_tabs(context, topic)
    await end(site, topic, 4503, "away")
    for tab in (leader, follower):
        await tab.wait_for_selector(CLOSED)
    await publish(topic, "meanwhile")
    if who == "newcomer":
        await visit(await context.new_page(), topic)
    else:
        tab = {"leader": leader, "follower": follower}[who]
        await tab.get_by_role("button", name="Subscribe").click()
    for tab in (leader, follower):
        await tab.wait_for_selector(OPEN)
    await publish(topic, "after")
    for tab in (leader, follower):
        await expect_events(tab, "meanwhile", "after")


async def test_a_follower_takes_another_topic_while_its_leader_stays_away(
    context: BrowserContext, site: LiveSite, publish: Publish, topic: str
) -> None:
    leader, follower = await two_tabs(context, topic)
    await end(site, topic, 4503, "away")
    await follower.wait_for_selector(CLOSED)
    await follower.fill("#topics", f"{topic}.other")
    await follower.get_by_role("button", name="Subscribe").click()
    await follower.wait_for_selector(OPEN)
    await publish(f"{topic}.other", "here")
    await expect_events(follower, "here")
    await expect(leader.locator("main")).to_have_attribute("data-state", "closed")


async def test_the_lead_is_taken_from_a_tab_that_has_fallen_silent(
    context: BrowserContext, publish: Publish, topic: str
) -> None:
    leader, follower = await two_tabs(context, topic)
    await leader.evaluate(
        "() => { BroadcastChannel.prototype.postMessage = () => {}; }"
    )
    await publish(topic, "unheard")
    await expect_events(leader, "unheard")
    await expect_events(follower)
    await follower.clock.fast_forward(SILENCE_MS)
    await expect(follower.locator("#feed-transport")).to_have_text("websocket")
    await expect(leader.locator("#feed-transport")).to_have_text(
        "websocket, of another tab"
    )
    await publish(topic, "after")
    for tab in (leader, follower):
        await expect_events(tab, "unheard", "after")


# --- back to what was left ------------------------------------------------------------


async def test_a_feed_that_fell_back_upgrades_and_nobody_notices(
    page: Page, publish: Publish, topic: str
) -> None:
    await page.clock.install()
    await page.add_init_script(f"window.RealSocket = WebSocket; {NO_WEBSOCKET}")
    await visit(page, topic)
    await expect(page.locator("#feed-transport")).to_have_text("sse")
    await page.evaluate("() => { window.WebSocket = RealSocket; }")
    states = await watch_states(page)
    texts = []
    for step in range(8):  # five minutes, in steps that are not taken for silence
        texts.append(f"step {step}")
        await publish(topic, texts[-1])
        await expect_events(page, *texts)
        await page.clock.fast_forward(40_000)
    await expect(page.locator("#feed-transport")).to_have_text("websocket")
    await publish(topic, "after")
    await expect_events(page, *texts, "after")
    assert await states.json_value() == []


async def watch_states(page: Page) -> JSHandle:
    """Return a list that the page's states other than open are added to."""
    return await page.evaluate_handle(
        """() => {
          const main = document.querySelector("main");
          const seen = [];
          const note = () => main.dataset.state === "open" || seen.push(main.dataset.state);
          new MutationObserver(note).observe(main, { attributes: true });
          return seen;
        }"""
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keeping_browser(browser: Browser) -> AsyncIterator[Browser]:
    """A browser with the back/forward cache, as visitors have it; headless shells have none."""
    keeping = await browser.browser_type.launch(
        executable_path=find_chromium(),
        args=CHROMIUM_ARGUMENTS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield keeping
    await keeping.close()


@pytest_asyncio.fixture(loop_scope="session")
async def keeping_page(keeping_browser: Browser, site: LiveSite) -> AsyncIterator[Page]:
    context = await keeping_browser.new_context(base_url=site.url)
    yield await context.new_page()
    await context.close()


@pytest.mark.parametrize("transport", ["", *TRANSPORTS])
async def test_the_way_back_to_a_kept_page_doubles_and_loses_nothing(
    keeping_page: Page, publish: Publish, topic: str, transport: str
) -> None:
    page = keeping_page
    await visit(page, topic, transport)
    await publish(topic, "before")
    await expect_events(page, "before")
    await page.evaluate(
        "addEventListener('pageshow', (event) => { window.kept = event.persisted; })"
    )
    await page.goto("/hello")
    await publish(topic, "meanwhile")
    await page.go_back(wait_until="commit")
    await page.wait_for_function("() => window.kept === true")
    await page.wait_for_selector(OPEN)
    await publish(topic, "after")
    await expect_events(page, "before", "meanwhile", "after")
    await expect(page.locator("#recovery")).to_have_text(
        re.compile(r"^reconnected after [\d.]+ s, 1 event recovered, 0 lost$")
    )


async def test_a_kept_page_does_not_keep_the_lead(
    keeping_page: Page, publish: Publish, topic: str
) -> None:
    leader, follower = keeping_page, await keeping_page.context.new_page()
    await visit(leader, topic)
    await visit(follower, topic)
    await expect(follower.locator("#feed-transport")).to_have_text(
        "websocket, of another tab"
    )
    await leader.goto("/hello")
    await expect(follower.locator("#feed-transport")).to_have_text("websocket")
    await publish(topic, "meanwhile")
    await expect_events(follower, "meanwhile")
    await leader.go_back(wait_until="commit")
    await expect(leader.locator("#feed-transport")).to_have_text(
        "websocket, of another tab"
    )
    await publish(topic, "after")
    for tab in (leader, follower):
        await expect_events(tab, "meanwhile", "after")
