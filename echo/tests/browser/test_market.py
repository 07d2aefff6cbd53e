"""The live K-line in a browser: candles of every trade, and none is missing."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from echo.tests.live import LiveSite

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN = "main[data-state=open]"
TRANSPORTS = ["websocket", "sse", "longpoll", "shortpoll"]
TRADES = 120
Run = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """A site of its own, which has no market yet."""
    with LiveSite("uvicorn", tmp_path_factory.mktemp("market")) as live:
        yield live


@pytest.fixture
def symbol() -> str:
    """A symbol that only this test uses."""
    return f"T-{secrets.token_hex(4)}"


@pytest.fixture
def trade(site: LiveSite, symbol: str) -> Run:
    """Publish trades of the symbol with the command."""

    async def trade(count: int = TRADES) -> None:
        arguments = ["--once", str(count), "--symbols", symbol]
        await asyncio.to_thread(site.manage, "market", *arguments)

    return trade


async def visit(page: Page, symbol: str, **settings: str) -> None:
    query = "&".join(f"{name}={value}" for name, value in settings.items())
    await page.goto(f"/market/?symbol={symbol}&{query}")
    await page.wait_for_selector(OPEN)


async def expect_trades(page: Page, count: int) -> None:
    await expect(page.locator("#received")).to_have_text(f"{count:,}")
    await expect(page.locator("#lost")).to_have_text("0")


async def test_a_visitor_starts_a_market_and_sees_its_candles(page: Page) -> None:
    await page.goto("/market/")
    await expect(page.locator("#empty")).to_contain_text("No trades of ECHO yet.")
    await expect(page.locator(".source-status")).to_have_text("No market runs.")
    await page.fill("[name=rate]", "20")
    await page.get_by_role("button", name="Start a market").click()
    status = page.locator(".source-status")
    await expect(status).to_contain_text("A market for visitors runs until")
    await expect(page.locator("#empty")).to_be_hidden()
    await expect(page.locator("#simulated")).to_be_visible()
    await expect(page.locator("#price")).to_have_text(re.compile(r"^\d+\.\d\d$"))
    await expect(page.locator("[data-value=open]")).not_to_have_text("–")
    await expect(page.locator("#trades tbody tr")).not_to_have_count(0)
    # Another visitor learns of it, and cannot start a second one.
    await page.reload()
    await expect(status).to_contain_text("A market for visitors runs until")
    await expect(page.get_by_role("button", name="Start a market")).to_be_disabled()


async def test_a_market_of_another_node_is_known_at_once(
    page: Page, site: LiveSite
) -> None:
    """The notice comes through the feed, as it does from another node."""
    await page.goto("/market/?symbol=NONE")
    await page.wait_for_selector(OPEN)
    data = '{"until":"2999-01-01T10:00:00Z"}'
    await asyncio.to_thread(
        site.manage, "broadcast", "--topic", "market", "--json", data
    )
    await expect(page.locator(".source-status")).to_contain_text(
        "runs until 10:00:00, "
    )


async def test_the_history_is_read_from_the_log_and_after_a_reload_too(
    page: Page, symbol: str, trade: Run
) -> None:
    await trade()
    await visit(page, symbol)
    await expect_trades(page, TRADES)
    await page.reload()
    await page.wait_for_selector(OPEN)
    await expect_trades(page, TRADES)
    await trade(10)
    await expect_trades(page, TRADES + 10)


async def test_a_change_of_transport_loses_and_doubles_nothing(
    page: Page, symbol: str, trade: Run
) -> None:
    await trade()
    await visit(page, symbol)
    await expect_trades(page, TRADES)
    for number, transport in enumerate(TRANSPORTS, 1):
        await page.select_option("[name=transport]", transport)
        await trade(10)
        await expect(page.locator("#transport-used")).to_have_text(transport)
        await expect_trades(page, TRADES + 10 * number)
    assert "transport=shortpoll" in page.url


async def test_a_cut_is_filled_and_shows_it(
    page: Page, symbol: str, trade: Run
) -> None:
    await trade()
    await visit(page, symbol, transport="sse")
    await expect_trades(page, TRADES)
    await page.clock.install()
    await page.click("#cut")
    await page.wait_for_selector("main[data-state=closed]")
    await trade(31)
    await page.clock.run_for(3000)
    await expect(page.locator("#recovery")).to_have_text(
        re.compile(r"^reconnected after \d+\.\d s, 31 trades recovered, 0 lost$")
    )
    await expect_trades(page, TRADES + 31)


async def test_a_log_that_was_replaced_is_read_again(
    page: Page, site: LiveSite, symbol: str, trade: Run
) -> None:
    await trade()
    await visit(page, symbol)
    await expect_trades(page, TRADES)
    await asyncio.to_thread(site.manage, "renewlog")
    await trade(5)
    recovery = page.locator("#recovery")
    await expect(recovery).to_have_text(
        "The log has been replaced: it has been read again."
    )
    await expect_trades(page, TRADES + 5)


async def test_another_symbol_and_another_interval_are_shown(
    page: Page, symbol: str, trade: Run
) -> None:
    await trade()
    await visit(page, "NONE")
    await expect(page.locator("#empty")).to_contain_text("No trades of NONE yet.")
    await page.reload()  # the server knows the symbol now
    await page.select_option("[name=symbol]", symbol)
    await expect_trades(page, TRADES)
    rows = page.locator("#candles tbody tr")
    await expect(rows).to_have_count(10)
    await page.get_by_role("radio", name="1 min").check()
    await expect(page.locator("#candles caption")).to_contain_text("1 min")
    await expect(rows).not_to_have_count(10)
    assert f"symbol={symbol}" in page.url
    assert "interval=60" in page.url
    await expect(page.get_by_role("slider")).to_have_accessible_name(
        f"Candles of {symbol}, 1 min"
    )


async def test_a_table_has_the_prices_that_the_chart_has(
    page: Page, symbol: str, trade: Run
) -> None:
    await trade()
    await visit(page, symbol)
    table = page.get_by_role("table", name=f"{symbol}, the last candles of 1 s")
    last = table.locator("tbody tr").first.locator("td")
    await expect(last).to_have_count(6)
    values = page.locator("#legend dd")
    in_table = await last.all_text_contents()
    in_legend = await values.all_text_contents()
    assert in_table == [*in_legend[:5], in_legend[6]]


async def test_the_crosshair_moves_by_keyboard(
    page: Page, symbol: str, trade: Run
) -> None:
    await trade()
    await visit(page, symbol)
    chart = page.get_by_role("slider")
    rows = page.locator("#candles tbody tr")
    await expect(rows).to_have_count(10)
    times = await rows.locator("td:first-child").all_text_contents()
    await chart.focus()
    for key, time in [
        ("End", times[0]),
        ("ArrowLeft", times[1]),
        ("ArrowLeft", times[2]),
    ]:
        await page.keyboard.press(key)
        await expect(page.locator("[data-value=time]")).to_have_text(time)
        await expect(chart).to_have_attribute("aria-valuetext", re.compile(f"^{time}"))
    await page.keyboard.press("Home")
    await expect(chart).to_have_attribute("aria-valuenow", "0")
    await expect(page.locator("[data-value=average20]")).to_have_text("–")
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-value=time]")).to_have_text(times[0])


@pytest_asyncio.fixture(loop_scope="session")
async def chinese_page(browser: Browser, site: LiveSite) -> AsyncIterator[Page]:
    context = await browser.new_context(base_url=site.url, locale="zh-CN")
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    await context.close()
    assert complaints == []


async def test_in_chinese_rising_prices_are_red(
    chinese_page: Page, symbol: str, trade: Run
) -> None:
    await trade()
    await visit(chinese_page, symbol)
    await expect_trades(chinese_page, TRADES)
    await expect(chinese_page.locator("html")).to_have_attribute("lang", "zh-hans")
    main = chinese_page.locator("main")
    await expect(main).to_have_attribute("data-rising", "red")
    await chinese_page.select_option("[name=rising]", "green")
    await expect(main).to_have_attribute("data-rising", "green")
    assert "rising=green" in chinese_page.url


async def test_the_page_has_the_notice_that_the_chart_s_licence_asks_for(
    page: Page,
) -> None:
    await page.goto("/market/")
    link = page.get_by_role("link", name="TradingView")
    await expect(link).to_have_attribute("href", "https://www.tradingview.com/")
    await expect(page.locator(".lab-code")).to_contain_text(
        "TradingView Lightweight Charts™, Copyright © 2025 TradingView, Inc."
    )
