"""axe-core finds nothing wrong on any page: wide and narrow, light and dark."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect
from websockets.asyncio.client import connect

from echo.tests.browser.conftest import PATIENCE_MS, note_complaint
from echo.tests.live import ROOT, LiveSite

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (1280, 390)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# Prints the session of an operator who may do everything, and makes what the pages show.
PREPARE = """
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from echo.feed import publish
from echo.models import Token
operator = User.objects.create_superuser("operator", password="operate-operate")
User.objects.create_user("reader", email="reader@example.com")
Group.objects.create(name="publishers")
token = Token(name="weather station", topics="weather.*", owner=operator)
token.renew_secret()
token.save()
for topic, data in [("news", "first"), ("news", {"a": [1, 2]}), ("sport", "x" * 200)]:
    publish(topic, data, source="admin", author="operator")
call_command("market", "--once", "100", "--symbols", "ECHO")
client = Client(SERVER_NAME="127.0.0.1")
client.force_login(operator)
assert client.post("/admin/auth/group/add/", {"name": "editors"}).status_code == 302
print(client.cookies["sessionid"].value)
"""
# Transitions end at once: their colours in between are nobody's choice.
SETTLE = "() => { for (const one of document.getAnimations()) one.finish(); }"
# With the rule of WCAG 2.2 that is off by default. Without the preload, which serves no rule
# that is on, and which the Content-Security-Policy refuses.
RUN = """async () => {
  const rules = { "target-size": { enabled: true } };
  const options = { rules, resultTypes: ["violations"], preload: false };
  return (await axe.run(options)).violations;
}"""

Prepare = Callable[[Page], Awaitable[Any]]


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    if not AXE.exists():
        pytest.skip(
            "no axe-core: run `npm install --no-package-lock` to check the pages' "
            "accessibility (Debian: apt-get install nodejs npm)"
        )
    return AXE.read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """The site with production settings, except for TLS, and with URLs that fail."""
    with LiveSite(
        "uvicorn",
        tmp_path_factory.mktemp("accessibility"),
        DJANGO_SETTINGS_MODULE="echo.tests.settings_operator",
        DEBUG="off",
        SECRET_KEY="x" * 50,
        ALLOWED_HOSTS="127.0.0.1",
        HTTPS="off",
    ) as site:
        yield site


@pytest.fixture(scope="module")
def session(site: LiveSite) -> str:
    """The operator's session, on a site that has something of everything."""
    return site.manage("shell", "-v0", "-c", PREPARE).strip()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def visitor(
    browser: Browser, site: LiveSite, session: str
) -> AsyncIterator[BrowserContext]:
    """The browser context of somebody who is not signed in."""
    async with open_context(browser, site) as context:
        yield context


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def operator(
    browser: Browser, site: LiveSite, session: str
) -> AsyncIterator[BrowserContext]:
    """The operator's browser context, while somebody else reads the feed."""
    cookie = {"name": "sessionid", "value": session, "url": site.url}
    async with (
        open_context(browser, site) as context,
        connect(f"{site.ws_url}/feed/ws", proxy=None),
    ):
        await context.add_cookies([cookie])  # type: ignore[list-item]
        yield context


@asynccontextmanager
async def open_context(
    browser: Browser, site: LiveSite
) -> AsyncIterator[BrowserContext]:
    """Open a context in which nothing moves; fail if its pages have complained."""
    context = await browser.new_context(base_url=site.url, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    context.on("console", lambda message: note_complaint(message, complaints))
    yield context
    await context.close()
    assert complaints == []


# --- what is done on a page before it is looked at ------------------------------------


async def converse(page: Page) -> None:
    """Open the echo, send a message, look at the reply, and close."""
    await page.click("#open")
    await page.click("main[data-state=open] #send")
    await page.click("#output .row[data-direction=received]")
    await page.click("#close")
    await page.wait_for_selector("main[data-state=closed]")
    await unfold(page)


async def be_refused(page: Page) -> None:
    await page.click("#open")
    await expect(page.locator("#status")).to_contain_text("503")


async def unfold(page: Page) -> None:
    """Open all that is folded up."""
    await page.locator("details").evaluate_all(
        "all => { for (const one of all) one.open = true; }"
    )


async def receive(page: Page) -> None:
    """Publish while the live feed is open, and look at the event."""
    await page.wait_for_selector("main[data-state=open]")
    await page.request.get("/publish-in-admin?topic=news")
    await page.click("#output .row[data-direction=received]")
    await unfold(page)


async def race(page: Page) -> None:
    """Have a race of three events run to its end."""
    await page.click("#race[data-state=ready] #run")
    await page.wait_for_selector("#race[data-state=over]")


async def see_trades(page: Page) -> None:
    """Wait for the trades that the log has, and point at a candle."""
    await expect(page.locator("#received")).to_have_text("100")
    await page.focus("#chart")
    await page.keyboard.press("Home")


async def compare(page: Page) -> None:
    """Break a handshake, and compare WebSocket with TCP and with HTTP."""
    await page.select_option("[name=handshake]", "short-key")
    for experiment in ("handshake", "streams", "updates"):
        await page.locator(f"#{experiment} button[type=submit]").click()
    await page.wait_for_selector("#handshake-verdict[data-outcome=refused]")
    await page.wait_for_selector("#streams[data-state=done]")
    await page.wait_for_selector("#updates[data-state=done]")
    await page.focus("#handshake-answer button")
    await unfold(page)


async def tap_and_send_frames(page: Page) -> None:
    """Look at the frames of a tapped connection, and send a mistake among others."""
    await page.click("#tap [data-action=open]")
    await page.click("#tap[data-state=open] [type=submit]")
    await page.select_option("#frames [data-part=example]", "not-masked")
    await expect(page.locator("#frames .frame-notes")).to_contain_text("1002")
    await page.click("#frames [data-part=bytes] [type=submit]")
    await page.wait_for_selector("#frames [data-part=answers] .frame-view")
    await expect(page.locator("#tap .tap-frame")).to_have_count(2)
    await unfold(page)
    await page.wait_for_selector("#tap .frame-view")
    await page.focus("#tap .frame-view a")


async def log_in_wrongly(page: Page) -> None:
    await page.fill("#id_username", "nobody")
    await page.fill("#id_password", "wrong")
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_selector(".errornote")


async def log_in_and_out(page: Page) -> None:
    await page.fill("#id_username", "operator")
    await page.fill("#id_password", "operate-operate")
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/admin/logout/")


async def lose_csrf_token(page: Page) -> None:
    """Choose a language when the page's token is out of date."""
    await page.context.clear_cookies(name="csrftoken")
    await page.click(".languages button >> nth=0")
    await page.wait_for_url("**/i18n/setlang/")


async def in_chinese(page: Page) -> None:
    """Have the page in Chinese, without the cookie that other pages would have as well."""
    await page.set_extra_http_headers({"Accept-Language": "zh-hans"})
    await page.reload()
    await page.wait_for_selector("html[lang=zh-hans]")


async def list_connections(page: Page) -> None:
    await page.wait_for_selector("#refresh[data-state=fresh]")
    await page.locator("tr[data-id] .action-select").first.check()


async def confirm_disconnection(page: Page) -> None:
    await list_connections(page)
    await page.select_option("select[name=action]", "disconnect")
    await page.get_by_role("button", name="Go").click()
    await page.wait_for_selector("#id_reason")


async def watch_nodes(page: Page) -> None:
    await expect(page.locator("[data-now=connections]")).not_to_have_text("–")


async def publish(page: Page) -> None:
    await page.fill("#id_topic", "news")
    await page.fill("#id_data", "here")
    await page.get_by_role("button", name="Publish").click()
    await page.wait_for_selector("#receipt[data-state=complete]")


async def publish_wrongly(page: Page) -> None:
    await page.fill("#id_topic", "a..b")
    await page.get_by_role("button", name="Publish").click()
    await page.wait_for_selector(".errors .problem")


async def change_password_wrongly(page: Page) -> None:
    for field in ("old_password", "new_password1", "new_password2"):
        await page.fill(f"#id_{field}", field)
    await page.get_by_role("button", name="Change my password").click()
    await page.wait_for_selector(".errorlist")


async def open_calendar(page: Page) -> None:
    await page.click(".date-icon >> nth=0")
    await page.wait_for_selector("#calendarbox0")


async def open_clock(page: Page) -> None:
    await page.click(".clock-icon >> nth=0")
    await page.wait_for_selector("#clockbox0")


async def delete_selected(page: Page) -> None:
    await page.locator(".action-select").first.check()
    await page.select_option("select[name=action]", "delete_selected")
    await page.get_by_role("button", name="Go").click()
    await page.wait_for_selector("body.delete-selected-confirmation")


async def make_nameless_token(page: Page) -> None:
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.wait_for_selector(".errorlist")


async def make_token(page: Page) -> None:
    await page.fill("#id_name", "one more")
    await page.fill("#id_topics", "news")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.wait_for_selector(".messagelist")


# --- the pages: each is a line here --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visit:
    """A page, and what is done there before it is looked at."""

    path: str
    prepare: Prepare | None = None

    def __str__(self) -> str:
        done = f" {self.prepare.__name__}" if self.prepare else ""
        return f"{self.path}{done}"


VISITOR = [
    Visit("/"),
    Visit("/", converse),
    Visit("/?reject=503", be_refused),
    Visit("/", in_chinese),
    Visit("/live/"),
    Visit("/live/", receive),
    Visit("/transports/"),
    Visit("/transports/?events=3&rate=20", race),
    Visit("/market/"),
    Visit("/market/?symbol=ECHO&interval=5", see_trades),
    Visit("/protocol/?updates_count=3", compare),
    Visit("/protocol/", tap_and_send_frames),
    Visit("/nowhere"),
    Visit("/fail/400"),
    Visit("/fail/403"),
    Visit("/fail/500"),
    Visit("/live/", lose_csrf_token),
    Visit("/admin/login/"),
    Visit("/admin/login/", log_in_wrongly),
    Visit("/admin/login/", log_in_and_out),
]
OPERATOR = [
    Visit("/live/", receive),
    Visit("/admin/"),
    Visit("/admin/echo/"),
    Visit("/admin/nowhere/"),
    Visit("/admin/echo/event/"),
    Visit("/admin/echo/event/?q=nothing-like-this"),
    Visit("/admin/echo/event/add/"),
    Visit("/admin/echo/event/add/", publish_wrongly),
    Visit("/admin/echo/event/add/", publish),
    Visit("/admin/echo/event/1/change/"),
    Visit("/admin/echo/event/1/history/"),
    Visit("/admin/echo/connection/", list_connections),
    Visit("/admin/echo/connection/", confirm_disconnection),
    Visit("/admin/echo/connection/?q=nothing-like-this"),
    Visit("/admin/echo/connection/?after=wrong"),
    Visit("/admin/echo/node/", watch_nodes),
    Visit("/admin/echo/topic/"),
    Visit("/admin/echo/topic/news/change/"),
    Visit("/admin/echo/token/"),
    Visit("/admin/echo/token/", delete_selected),
    Visit("/admin/echo/token/add/"),
    Visit("/admin/echo/token/add/", make_nameless_token),
    Visit("/admin/echo/token/add/", make_token),
    Visit("/admin/echo/token/1/change/"),
    Visit("/admin/echo/token/1/delete/"),
    Visit("/admin/admin/logentry/"),
    Visit("/admin/auth/user/"),
    Visit("/admin/auth/user/add/"),
    Visit("/admin/auth/user/add/?_to_field=id&_popup=1"),
    Visit("/admin/auth/user/2/change/"),
    Visit("/admin/auth/user/2/change/", open_calendar),
    Visit("/admin/auth/user/2/change/", open_clock),
    Visit("/admin/auth/user/2/delete/"),
    Visit("/admin/auth/group/2/history/"),
    Visit("/admin/auth/user/2/password/"),
    Visit("/admin/auth/group/"),
    Visit("/admin/auth/group/1/change/"),
    Visit("/admin/password_change/"),
    Visit("/admin/password_change/", change_password_wrongly),
    Visit("/admin/password_change/done/"),
]


@pytest.mark.parametrize("visit", VISITOR, ids=str)
async def test_axe_finds_nothing_wrong_on_a_visitor_s_page(
    axe: str, visitor: BrowserContext, visit: Visit
) -> None:
    await expect_nothing_found(axe, visitor, visit)


@pytest.mark.parametrize("visit", OPERATOR, ids=str)
async def test_axe_finds_nothing_wrong_on_an_operator_s_page(
    axe: str, operator: BrowserContext, visit: Visit
) -> None:
    await expect_nothing_found(axe, operator, visit)


async def expect_nothing_found(axe: str, context: BrowserContext, visit: Visit) -> None:
    """Open a page, and run axe on it at each width in each scheme."""
    page = await context.new_page()
    await page.goto(visit.path)
    assert page.url.endswith(visit.path)
    if visit.prepare:
        await visit.prepare(page)
    # As a debugger would: the page's Content-Security-Policy stays as it is.
    await page.evaluate(axe)
    found = []
    for width, scheme in product(WIDTHS, SCHEMES):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.emulate_media(color_scheme=scheme)
        await page.evaluate(SETTLE)
        violations = await page.evaluate(RUN)
        found += [f"{width} {scheme}: {describe(one)}" for one in violations]
    await page.close()
    assert not found, "\n".join(found)


def describe(violation: dict[str, Any]) -> str:
    """Return a violation as a person reads it: the rule, and each element with its fault."""
    lines = [f"{violation['id']}: {violation['help']} ({violation['helpUrl']})"]
    for node in violation["nodes"]:
        target = " ".join(map(str, node["target"]))
        lines += [f"  {target}", f"    {node['html']}"]
        lines += [f"    {line}" for line in node["failureSummary"].splitlines()]
    return "\n".join(lines)
