"""A browser's own EventSource loses and doubles nothing over a restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from echo.tests.live import COMMANDS, LiveSite

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What the page of the protocol tells a page's author to write, keeping what it hears.
LISTEN = """
() => {
  window.heard = [];
  const source = new EventSource("/feed/sse?topic=restart");
  const keep = (message) => window.heard.push(JSON.parse(message.data));
  source.onmessage = keep;
  for (const name of ["hello", "reset", "bye"]) source.addEventListener(name, keep);
}
"""
HEARD = "(count) => heard.filter((frame) => frame.type === 'event').length >= count"


@pytest.fixture(params=COMMANDS)
def restarted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveSite]:
    """A site that only this test uses, to stop and start."""
    with LiveSite(request.param, tmp_path) as site:
        yield site


async def test_an_event_source_comes_back_and_has_everything_once(
    browser: Browser, restarted: LiveSite
) -> None:
    site = restarted
    page = await browser.new_page()
    await page.goto(f"{site.url}/hello")
    await page.evaluate(LISTEN)
    await page.wait_for_function("() => heard.length")  # hello
    site.manage("broadcast", "--topic", "restart", "before")
    await page.wait_for_function(HEARD, arg=1)
    site.stop()
    site.manage("broadcast", "--topic", "restart", "while down")
    site.start()
    await page.wait_for_function("() => heard.some((frame) => frame.resumed)")
    site.manage("broadcast", "--topic", "restart", "after")
    await page.wait_for_function(HEARD, arg=3)
    heard: list[dict[str, Any]] = await page.evaluate("() => heard")
    await page.close()
    assert [frame["data"] for frame in heard if frame["type"] == "event"] == [
        "before",
        "while down",
        "after",
    ]
    assert [frame["code"] for frame in heard if frame["type"] == "bye"] == [4001]
    assert not [frame for frame in heard if frame["type"] == "reset"]
