"""Live connections in a browser: the list, its refreshes, and actions, with one or two nodes."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Response, Route, expect
from websockets.asyncio.client import ClientConnection, connect

from echo.tests.live import LiveSite

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "/admin/echo/connection/"
MAKE_OPERATOR = """
from django.contrib.auth.models import User
user, is_new = User.objects.get_or_create(
    username="operator", is_staff=True, is_superuser=True)
user.set_password("operate-operate")
user.save()
"""
SEVERAL = 3
topics = (f"connections.t{number}" for number in count())


@pytest.fixture
def topic() -> str:
    """A topic that only this test uses."""
    return next(topics)


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser, site: LiveSite) -> AsyncIterator[Page]:
    """A tab of another visitor, in a browser context of its own."""
    context = await browser.new_context(base_url=site.url)
    yield await context.new_page()
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def crowd() -> AsyncIterator[AsyncExitStack]:
    """A stack of clients that are closed at the test's end."""
    async with AsyncExitStack() as stack:
        yield stack


async def watch(page: Page, site: LiveSite, topic: str, **filters: str) -> Locator:
    """Sign in an operator and open the list of a topic's readers; return its rows."""
    await asyncio.to_thread(site.manage, "shell", "-v0", "-c", MAKE_OPERATOR)
    query = "%26".join(f"{k}%3D{v}" for k, v in {"q": topic, **filters}.items())
    await page.goto(f"/admin/login/?next={URL}%3F{query}")
    await page.fill("#id_username", "operator")
    await page.fill("#id_password", "operate-operate")
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_selector("#refresh[data-state=fresh]")
    return page.locator("tr[data-id]")


async def read(page: Page, topic: str) -> list[str]:
    """Open the live feed; return a list that its WebSockets are added to."""
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    await page.goto(f"/live/?topic={topic}")
    await page.wait_for_selector("main[data-state=open]")
    return sockets


async def join(crowd: AsyncExitStack, site: LiveSite, topic: str) -> ClientConnection:
    """Connect a client that reads the topic."""
    return await crowd.enter_async_context(
        connect(f"{site.ws_url}/feed/ws?topic={topic}", proxy=None)
    )


async def identity(client: ClientConnection) -> str:
    """Return the id of a new client's connection, from its hello."""
    hello = json.loads(await client.recv())
    return str(hello["connection"])


async def refreshes(page: Page, times: int = SEVERAL) -> None:
    """Wait until the list has been refreshed this many times."""
    for _ in range(times):
        response = await page.wait_for_event("response", is_refresh)
        await response.finished()


def is_refresh(response: Response) -> bool:
    return "x-fragment" in response.request.headers and response.ok


def box(page: Page, client: str) -> Locator:
    return page.locator(f".action-select[value='{client}']")


async def choose(page: Page, action: str, *, confirmed: bool = True) -> None:
    """Run an action on what is selected."""
    await page.select_option("select[name=action]", action)
    await page.get_by_role("button", name="Go").click()
    if confirmed:
        await page.get_by_role("button", name="Yes, I’m sure").click()


# --- actions -----------------------------------------------------------------------------


async def test_a_row_selected_before_the_script_has_run_stays_selected(
    page: Page, site: LiveSite, topic: str, crowd: AsyncExitStack
) -> None:
    await join(crowd, site, topic)
    rows = await watch(page, site, topic)
    selected = asyncio.Event()

    async def delay(route: Route) -> None:
        await selected.wait()
        await route.continue_()

    await page.route("**/echo/admin/connections*.js", delay)
    await page.goto(page.url, wait_until="commit")
    await rows.locator(".action-select").click()
    selected.set()
    await expect(page.locator("#counter")).to_have_text("1 of 1 selected")
    await expect(rows.locator(".action-select")).to_be_checked()


async def test_a_disconnected_reader_does_not_reconnect(
    page: Page, visitor: Page, site: LiveSite, topic: str
) -> None:
    rows = await watch(page, site, topic)
    await expect(page.get_by_text("No live connection matches.")).to_be_visible()
    sockets = await read(visitor, topic)
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text(["WebSocket"])
    await expect(rows.locator(".state")).to_have_text("live")
    await rows.locator(".action-select").check()
    await page.select_option("select[name=action]", "disconnect")
    await page.get_by_role("button", name="Go").click()
    await page.fill("#id_reason", "the hall is closing")
    await page.get_by_role("button", name="Yes, I’m sure").click()
    await expect(page.locator(".messagelist")).to_have_text(
        re.compile("1 connection disconnected, on 1 node.")
    )
    await visitor.wait_for_selector("main[data-state=closed]")
    await expect(visitor.locator("#status")).to_contain_text("the hall is closing")
    await refreshes(page)
    await expect(rows).to_have_count(0)
    await expect(visitor.locator("main")).to_have_attribute("data-state", "closed")
    assert len(sockets) == 1


async def test_a_reader_that_is_asked_to_reconnect_does(
    page: Page, visitor: Page, site: LiveSite, topic: str
) -> None:
    rows = await watch(page, site, topic)
    sockets = await read(visitor, topic)
    await expect(rows).to_have_count(1)
    before = await rows.get_attribute("data-id")
    await rows.locator(".action-select").check()
    await choose(page, "ask_to_reconnect", confirmed=False)
    await expect(page.locator(".messagelist")).to_have_text(
        re.compile("1 connection asked to reconnect, on 1 node.")
    )
    await page.wait_for_selector(f"tr[data-id]:not([data-id='{before}'])")
    await expect(rows).to_have_count(1)
    await visitor.wait_for_selector("main[data-state=open]")
    assert len(sockets) == 2


async def test_all_that_match_are_chosen_across_pages(
    page: Page, site: LiveSite, topic: str, crowd: AsyncExitStack
) -> None:
    clients = [await join(crowd, site, topic) for _ in range(103)]
    rows = await watch(page, site, topic)
    await expect(page.locator(".paginator")).to_contain_text("1–100 of 103")
    await page.check("#action-toggle")
    await page.get_by_role("button", name="Select all 103 that match").click()
    await refreshes(page)
    await expect(page.locator("#all-selected")).to_have_text("All 103 selected")
    await choose(page, "disconnect")
    for client in clients:
        await client.wait_closed()
        assert client.close_code == 4503
    await expect(rows).to_have_count(0)


# --- refreshing --------------------------------------------------------------------------


async def test_the_selection_survives_while_others_come_and_go(
    page: Page, site: LiveSite, topic: str, crowd: AsyncExitStack
) -> None:
    clients = [await join(crowd, site, topic) for _ in range(4)]
    ids = [await identity(client) for client in clients]
    rows = await watch(page, site, topic)
    await expect(rows).to_have_count(4)
    for chosen in (ids[1], ids[2]):
        await box(page, chosen).check()
    await box(page, ids[1]).focus()
    await box(page, ids[1]).evaluate("box => { box.isTheSame = true; }")
    await clients[0].close()
    late = [await join(crowd, site, topic) for _ in range(2)]
    await expect(rows).to_have_count(5)
    await late[0].close()
    await expect(rows).to_have_count(4)
    await refreshes(page)
    await expect(page.locator("#counter")).to_have_text("2 of 4 selected")
    for chosen in (ids[1], ids[2]):
        await expect(box(page, chosen)).to_be_checked()
    await expect(box(page, ids[1])).to_be_focused()
    assert await box(page, ids[1]).evaluate("box => box.isTheSame")
    await expect(page.locator("#gone")).to_be_hidden()
    await clients[2].close()
    await expect(page.locator("#counter")).to_have_text("1 of 3 selected")
    await expect(page.locator("#gone")).to_have_text(
        "1 of the selected no longer in the list"
    )


async def test_newer_connections_do_not_push_a_selected_one_off_the_page(
    page: Page, site: LiveSite, topic: str, crowd: AsyncExitStack
) -> None:
    oldest = await identity(await join(crowd, site, topic))
    rows = await watch(page, site, topic, order="newest")
    await box(page, oldest).check()
    for _ in range(101):
        await join(crowd, site, topic)
    await expect(page.locator(".paginator")).to_contain_text("102–102 of 102")
    await expect(box(page, oldest)).to_be_checked()
    await box(page, oldest).uncheck()
    await expect(page.locator(".paginator")).to_contain_text("1–100 of 102")
    await expect(rows).to_have_count(100)


async def test_a_pause_leaves_the_list_as_it_is(
    page: Page, site: LiveSite, topic: str, crowd: AsyncExitStack
) -> None:
    rows = await watch(page, site, topic)
    await page.get_by_role("button", name="Pause").click()
    await page.wait_for_selector("#refresh[data-state=paused]")
    await page.clock.install()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await join(crowd, site, topic)
    await page.clock.run_for(20_000)
    assert asked == []
    await page.get_by_role("button", name="Resume").click()
    await expect(rows).to_have_count(1)


async def test_the_list_recovers_when_the_server_is_back(
    visitor: Page, site: LiveSite, topic: str, crowd: AsyncExitStack
) -> None:
    rows = await watch(visitor, site, topic)
    problem = visitor.locator("#refresh-problem")
    await expect(problem).to_be_hidden()
    await visitor.context.set_offline(True)
    await expect(problem).to_contain_text("The server does not answer")
    await join(crowd, site, topic)
    await visitor.context.set_offline(False)
    await expect(rows).to_have_count(1)
    await expect(problem).to_be_hidden()


async def test_a_signed_out_list_recovers_after_signing_in_elsewhere(
    page: Page, site: LiveSite, topic: str, crowd: AsyncExitStack
) -> None:
    rows = await watch(page, site, topic)
    cookies = await page.context.cookies()
    await page.context.clear_cookies(name="sessionid")
    await expect(page.locator("#refresh-problem")).to_contain_text("You are signed out")
    await join(crowd, site, topic)
    session = next(cookie for cookie in cookies if cookie["name"] == "sessionid")
    await page.context.add_cookies(
        [{"name": "sessionid", "value": session["value"], "url": site.url}]
    )
    await expect(rows).to_have_count(1)
    await expect(page.locator("#refresh-problem")).to_be_hidden()


async def test_without_javascript_it_is_a_plain_list(
    browser: Browser, site: LiveSite, topic: str, crowd: AsyncExitStack
) -> None:
    client = await join(crowd, site, topic)
    context = await browser.new_context(base_url=site.url, java_script_enabled=False)
    page = await context.new_page()
    await asyncio.to_thread(site.manage, "shell", "-v0", "-c", MAKE_OPERATOR)
    await page.goto(f"/admin/login/?next={URL}%3Fq%3D{topic}")
    await page.fill("#id_username", "operator")
    await page.fill("#id_password", "operate-operate")
    await page.get_by_role("button", name="Log in").click()
    await box(page, await identity(client)).check()
    await choose(page, "disconnect")
    await client.wait_closed()
    assert client.close_code == 4503
    await context.close()


@pytest.mark.parametrize("width", [390, 768, 1280])
async def test_the_page_never_scrolls_sideways(
    page: Page, site: LiveSite, topic: str, width: int, crowd: AsyncExitStack
) -> None:
    await join(crowd, site, topic)
    await page.set_viewport_size({"width": width, "height": 844})
    rows = await watch(page, site, topic)
    root = "document.documentElement"
    assert await page.evaluate(f"{root}.scrollWidth") == width
    await rows.locator(".action-select").check()
    await page.select_option("select[name=action]", "disconnect")
    await page.get_by_role("button", name="Go").click()
    await page.wait_for_selector("#id_reason")
    await page.wait_for_load_state("load")  # with its styles
    assert await page.evaluate(f"{root}.scrollWidth") == width


# --- two nodes ---------------------------------------------------------------------------


async def test_a_reader_of_one_node_is_disconnected_from_another(
    browser: Browser, first: LiveSite, second: LiveSite, topic: str
) -> None:
    here = await browser.new_context(base_url=first.url)
    there = await browser.new_context(base_url=second.url)
    operator, visitor = await here.new_page(), await there.new_page()
    rows = await watch(operator, first, topic)
    await read(visitor, topic)
    await expect(rows).to_have_count(1)
    await expect(operator.locator("#changelist-filter")).to_contain_text(
        await rows.locator(".field-node").inner_text()
    )
    await rows.locator(".action-select").check()
    await choose(operator, "disconnect")
    await visitor.wait_for_selector("main[data-state=closed]")
    await refreshes(operator)
    await expect(rows).to_have_count(0)
    await expect(visitor.locator("main")).to_have_attribute("data-state", "closed")
    await visitor.reload()
    await visitor.wait_for_selector("main[data-state=open]")
    before = await rows.get_attribute("data-id")
    await rows.locator(".action-select").check()
    await choose(operator, "ask_to_reconnect", confirmed=False)
    await operator.wait_for_selector(f"tr[data-id]:not([data-id='{before}'])")
    await expect(rows).to_have_count(1)
    await visitor.wait_for_selector("main[data-state=open]")
    await here.close()
    await there.close()
