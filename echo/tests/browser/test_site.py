"""What all pages share: header, colours, error pages, the link to the admin."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Page, expect

from echo.tests.live import COMMANDS, LiveSite

pytestmark = pytest.mark.asyncio(loop_scope="session")

SURFACES = ("paper", "panel", "sunken")
INKS = ("ink", "ink-soft", "accent", "good", "waiting", "bad")
PAIRS = [(ink, surface) for ink in INKS for surface in SURFACES]
PAIRS += [("accent-ink", "accent"), ("ink", "accent-wash"), ("ink", "bad-wash")]
PAIRS += [("ink-soft", "accent-wash"), ("bad", "bad-wash"), ("accent", "accent-wash")]
AA = 4.5


@pytest.fixture(scope="module", params=COMMANDS)
def production(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """The site on each server with production settings, except for TLS."""
    with LiveSite(
        request.param,
        tmp_path_factory.mktemp("production"),
        DEBUG="off",
        SECRET_KEY="x" * 50,
        ALLOWED_HOSTS="127.0.0.1",
        HTTPS="off",
    ) as site:
        yield site


def luminance(color: str) -> float:
    """Return the relative luminance of ``#rgb`` or ``#rrggbb`` (WCAG 2.2)."""
    digits = color.strip().lstrip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_ink_can_be_read_on_every_surface(page: Page, scheme: str) -> None:
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await page.goto("/")
    names = {name for pair in PAIRS for name in pair}
    colors = await page.evaluate(
        """(names) => {
          const style = getComputedStyle(document.documentElement);
          return Object.fromEntries(
            names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
        }""",
        sorted(names),
    )
    ratios = {pair: contrast(*(colors[name] for name in pair)) for pair in PAIRS}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < AA} == {}


async def test_the_header_leads_to_the_pages_and_names_this_one(page: Page) -> None:
    await page.goto("/")
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    await expect(links).to_have_text(
        ["Echo", "Live", "Transports", "Market", "Protocol", "Admin"]
    )
    await expect(links.first).to_have_attribute("aria-current", "page")
    await links.last.click()
    await expect(page).to_have_title("Log in | wsdemo")
    await page.get_by_role("link", name="← Back to the site").click()
    await expect(page).to_have_title("Echo console · wsdemo")


async def test_the_home_page_leads_to_each_page(page: Page) -> None:
    await page.goto("/")
    navigation = page.get_by_role("navigation", name="Pages")
    pages = [
        await link.get_attribute("href")
        for link in await navigation.get_by_role("link").all()
    ]
    links = page.locator(".intro a")
    assert [await link.get_attribute("href") for link in await links.all()] == pages[1:]
    for address in pages:
        response = await page.goto(str(address))
        assert response
        assert response.ok


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
async def test_all_pages_are_within_reach_on_a_phone(
    browser: Browser, site: LiveSite, locale: str
) -> None:
    page = await browser.new_page(
        base_url=site.url, locale=locale, viewport={"width": 390, "height": 844}
    )
    await page.goto("/")
    for link in await page.locator("header nav a").all():
        await expect(link).to_be_in_viewport(ratio=1)
    await page.close()


async def test_a_missing_page_is_told_in_the_sites_own_words(
    page: Page, production: LiveSite
) -> None:
    response = await page.goto(f"{production.url}/nowhere")
    assert response
    assert response.status == 404
    await expect(page.get_by_role("heading")).to_have_text("Nothing here")
    await page.get_by_role("link", name="To the echo console").click()
    await expect(page).to_have_title("Echo console · wsdemo")


async def test_the_console_works_in_production(
    page: Page, production: LiveSite
) -> None:
    await page.goto(production.url)
    await page.click("#open")
    await page.wait_for_selector("main[data-state=open]")
    await page.click("#send")
    await expect(page.locator("#output .line")).to_have_text(
        ["OPEN", "SEND: Hello world!", "RESPONSE: Hello world!"]
    )
