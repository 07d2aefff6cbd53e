"""A real browser, whose console errors and warnings fail the test.

Playwright's asynchronous API in one event loop for the session: its synchronous one
leaves a running loop behind, in which neither Django's database nor other coroutines
work.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    async_playwright,
    expect,
)

from echo.tests.live import PATIENCE_SECONDS, CommandSite, LiveSite
from echo.tests.survival.backends import Redis

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# A page costs it a third of what it costs the whole browser.
HEADLESS_SHELL = "chromium-headless-shell"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
]
# Where tests provoke a refusal.
PROVOKED = (
    "/echo",
    "/protocol/frames/read",
    "/protocol/handshake",
    "/protocol/streams",
    "/protocol/updates",
)
PATIENCE_MS = PATIENCE_SECONDS * 1000

# Five seconds otherwise.
expect.set_options(timeout=PATIENCE_MS)


def find_chromium() -> str | None:
    """Return the path of the machine's own Chromium, if it has one."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """The site as `make run` starts it; test_live.py has the other server.

    A page cannot know which server it comes from: what both do on the wire is tested there.
    """
    with CommandSite("daphne", tmp_path_factory.mktemp("pages")) as live:
        yield live


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The machine's own Chromium, or else the one that Playwright installs."""
    async with async_playwright() as playwright:
        found = shutil.which(HEADLESS_SHELL) or find_chromium()
        try:
            browser = await playwright.chromium.launch(
                executable_path=found, args=CHROMIUM_ARGUMENTS
            )
        except Error as error:
            if found:
                raise
            pytest.skip(
                "no Chromium: install it to test the pages (Debian: apt-get install "
                f"chromium; else: playwright install chromium): {str(error)[:80]}"
            )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, site: LiveSite) -> AsyncIterator[BrowserContext]:
    """The browser context of a new visitor, 1280 wide."""
    context = await browser.new_context(
        base_url=site.url,
        viewport={"width": 1280, "height": 800},
        permissions=["clipboard-read", "clipboard-write"],
    )
    complaints: list[str] = []
    context.on("console", lambda message: note_complaint(message, complaints))
    context.on("weberror", lambda error: complaints.append(f"uncaught: {error.error}"))
    yield context
    await context.close()
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    """A tab of that visitor."""
    return await context.new_page()


@pytest.fixture
def first(redis: Redis, tmp_path: Path) -> Iterator[LiveSite]:
    """A node that others can join."""
    with LiveSite("uvicorn", tmp_path, REDIS_URL=redis.url) as site:
        yield site


@pytest.fixture
def second(first: LiveSite, redis: Redis, tmp_path: Path) -> Iterator[LiveSite]:
    """Another node, on the same database."""
    with LiveSite("uvicorn", tmp_path, REDIS_URL=redis.url) as site:
        yield site


def note_complaint(message: ConsoleMessage, complaints: list[str]) -> None:
    """Collect warnings and errors, CSP violations included, unless a test provokes them."""
    if message.type in ("warning", "error") and not is_experiment(message):
        complaints.append(f"{message.type}: {message.text} ({message.location})")


def is_experiment(message: ConsoleMessage) -> bool:
    """Return whether the message is about what a test provokes: a refusal, a 404."""
    if message.text.startswith("WebSocket connection to "):
        return True
    url = message.location["url"]
    asked = urlsplit(url).path in PROVOKED or (message.page and message.page.url == url)
    return bool(asked) and message.text.startswith("Failed to load resource: ")
