"""The live feed, as a visitor has it: nothing is lost, and nothing comes twice."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    expect,
)

from echo.tests.live import COMMANDS, LiveSite
from echo.tests.transports.adapters import Publisher

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN = "main[data-state=open]"
TRANSPORTS = ["websocket", "sse", "longpoll", "shortpoll"]
# What has to be out of reach for a transport to be fallen back on.
BLOCKED = {
    "sse": r"/feed/ws",
    "longpoll": r"/feed/(ws|sse)",
    "shortpoll": r"/feed/(ws|sse|poll\?.*wait=)",
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


@pytest.fixture(scope="module", params=COMMANDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """The site on each server, with a URL by which connections are ended."""
    directory = tmp_path_factory.mktemp(request.param)
    settings = {"DJANGO_SETTINGS_MODULE": "echo.tests.settings_operator"}
    with LiveSite(request.param, directory, **settings) as live:
        yield live


@pytest.fixture(scope="module")
def publisher(site: LiveSite) -> Publisher:
    token = site.manage("shell", "-v0", "-c", MAKE_TOKEN).strip()
    return Publisher(site, token)


@pytest.fixture
def publish(publisher: Publisher) -> Publish:
    """Publishes over HTTP, which takes milliseconds."""

    async def publish(topic: str, *data: str) -> list[str]:
        return await asyncio.to_thread(publisher, topic, *data)

    return publish


@pytest.fixture
def topic() -> str:
    """A topic of this test's own."""
    return f"live.{secrets.token_hex(4)}"


@pytest_asyncio.fixture(loop_scope="session")
async def hindered_page(browser: Browser, site: LiveSite) -> AsyncIterator[Page]:
    """A tab whose complaints about what is out of reach are expected."""
    context = await browser.new_context(base_url=site.url)
    yield await context.new_page()
    await context.close()


async def visit(page: Page, topic: str, transport: str = "") -> None:
    await page.goto(f"/live/?topic={topic}&transport={transport}")
    await page.wait_for_selector(OPEN)


async def expect_events(page: Page, *texts: str) -> None:
    """Waits until the log has exactly these events, in this order."""
    payloads = page.locator("#output [data-direction=received] .payload")
    await expect(payloads).to_have_text([json.dumps(text) for text in texts])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_event_appears_on_each_transport(
    page: Page, publish: Publish, topic: str, transport: str
) -> None:
    await visit(page, topic, transport)
    await expect(page.locator("#via")).to_have_text(transport)
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
    await expect(page.locator("#via")).to_have_text(transport)
    await publish(topic, "fallen back")
    await expect_events(page, "fallen back")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("missed", "told"),
    [
        ([], "0 events recovered"),
        (["one"], "1 event recovered"),
        (["one", "two", "three"], "3 events recovered"),
    ],
)
async def test_a_cut_loses_nothing_and_shows_it(
    hindered_page: Page,
    publish: Publish,
    topic: str,
    transport: str,
    missed: list[str],
    told: str,
) -> None:
    page = hindered_page
    await visit(page, topic, transport)
    await publish(topic, "before")
    await expect_events(page, "before")
    await page.context.set_offline(True)
    await page.click("#cut")
    await page.wait_for_selector("main:not([data-state=open])")
    if missed:
        await publish(topic, *missed)
    await page.context.set_offline(False)
    await expect(page.locator("#recovery")).to_have_text(
        re.compile(rf"^reconnected after [\d.]+ s, {told}, 0 lost$")
    )
    await publish(topic, "after")
    await expect_events(page, "before", *missed, "after")


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
    await expect(second.locator("#via")).to_have_text("websocket, of another tab")
    await publish(topic, "to both")
    for tab in (first, second):
        await expect_events(tab, "to both")
    assert len(sockets) == 1
    await first.close()
    await publish(topic, "to the other")
    await expect(second.locator("#via")).to_have_text("websocket")
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
    await expect(page.locator("#how-to-publish")).to_contain_text(
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
        "00000000-1 is from another life of the log"
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
    await expect(page.locator("#via")).to_have_text("sse")
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
    await expect(hindered_page.locator("#account")).to_contain_text(
        "Refused: topic: staff.ops may not be read"
    )


async def test_an_unknown_transport_in_the_address_is_none_chosen(
    page: Page, topic: str
) -> None:
    await visit(page, topic, "pigeon")
    await expect(page.locator("#via")).to_have_text("websocket")
    await expect(page.locator("#transport")).to_have_value("")
