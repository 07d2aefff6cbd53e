"""Publishing from the admin in a browser: the form's previews and the receipt."""

import re
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from echo.tests.live import LiveSite
from echo.tests.survival.backends import Redis

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "/admin/echo/event/"
SIGN_IN = """
from django.contrib.auth.models import Permission, User
from django.test import Client
user = User.objects.create_user("publisher", is_staff=True)
names = ["view_event", "add_event", "view_connection"]
user.user_permissions.set(Permission.objects.filter(codename__in=names))
client = Client()
client.force_login(user)
print(client.cookies["sessionid"].value)
"""
DOWN = "The channel layer is down: only this node's connections are known."
topics = (f"publish.t{number}" for number in count())


@pytest.fixture
def topic() -> str:
    """A topic that only this test uses."""
    return next(topics)


@pytest.fixture(scope="session")
def session(site: LiveSite) -> str:
    """The session of a user who may publish and view events."""
    return site.manage("shell", "-v0", "-c", SIGN_IN).strip()


@pytest_asyncio.fixture(loop_scope="session")
async def form(
    context: BrowserContext, site: LiveSite, session: str, topic: str
) -> Page:
    """A tab with the form, filled in with the topic."""
    cookie = {"name": "sessionid", "value": session, "url": site.url}
    await context.add_cookies([cookie])  # type: ignore[list-item]
    page = await context.new_page()
    await page.goto(f"{URL}add/?topic={topic}")
    return page


@pytest_asyncio.fixture(loop_scope="session")
async def reader(browser: Browser, site: LiveSite, topic: str) -> AsyncIterator[Page]:
    """The live page in another browser context, reading the topic."""
    context = await browser.new_context(base_url=site.url)
    page = await context.new_page()
    await page.goto(f"/live/?topic={topic}")
    await page.wait_for_selector("main[data-state=open]")
    yield page
    await context.close()


async def publish(form: Page, text: str) -> None:
    await form.fill("#id_data", text)
    await form.get_by_role("button", name="Publish").click()
    await form.wait_for_selector("#receipt")


async def expect_events(reader: Page, *payloads: str) -> None:
    """Wait until the live page shows exactly these, in this order."""
    shown = reader.locator("#output [data-direction=received] .payload")
    await expect(shown).to_have_text(list(payloads))


async def test_a_published_event_arrives_and_the_receipt_says_so(
    form: Page, reader: Page
) -> None:
    await publish(form, "<b>from the admin</b>")
    await expect_events(reader, '"<b>from the admin</b>"')
    await expect(form.locator("#receipt")).to_have_attribute("data-state", "complete")
    await expect(form.locator("#state")).to_have_text("delivered")
    delivered = form.locator("#delivered")
    await expect(delivered).to_have_text("1 of 1 connection on 1 node")
    await expect(form.locator("#took")).to_have_text(re.compile(r"^[\d.]+ m?s$"))


async def test_a_double_click_publishes_once(form: Page, reader: Page) -> None:
    await form.fill("#id_data", "once")
    await form.get_by_role("button", name="Publish").dblclick()
    await form.wait_for_selector("#receipt")
    await form.get_by_role("link", name="Publish another").click()
    await publish(form, "another")
    await expect_events(reader, '"once"', '"another"')


async def test_an_event_is_published_again_from_the_list(
    form: Page, reader: Page, topic: str
) -> None:
    await form.check("input[value=json]")
    await publish(form, '{"a": [1, "ü"]}')
    await form.goto(f"{URL}?topic={topic}")
    await form.get_by_role("link", name="Publish again").click()
    await form.get_by_role("button", name="Publish").click()
    await form.wait_for_selector("#receipt")
    await expect_events(reader, '{"a":[1,"ü"]}', '{"a":[1,"ü"]}')


async def test_the_form_counts_the_readers_of_what_is_typed(
    reader: Page, form: Page, topic: str
) -> None:
    readers = form.locator("#readers")
    await expect(readers).to_have_text("1 connection reads this now")
    await form.fill("#id_topic", f"{topic}.below")
    await expect(readers).to_have_text("0 connections read this now")
    await form.fill("#id_topic", f"{topic}.")
    await expect(readers).to_have_text(re.compile("^topic: expected words"))
    await expect(readers).to_have_class(re.compile("problem"))


async def test_the_form_says_where_json_is_wrong_while_it_is_typed(
    form: Page, topic: str
) -> None:
    size, frame = form.locator("#size"), form.locator("#frame")
    await form.check("input[value=json]")
    await form.fill("#id_data", '{"a": 1,\n "b" 2}')
    wrong = "Not JSON: line 2, column 6: Expecting ':' delimiter"
    await expect(size).to_have_text(wrong)
    await expect(frame).to_have_text("–")
    await form.fill("#id_data", '{"a": 1,\n "b": "é"}')
    await expect(size).to_have_text("16 of 65,536 bytes as JSON")
    await expect(frame).to_have_text(
        f'{{"type":"event","id":"…","previous":"…","topic":"{topic}","sent_at":"…",'
        '"data":{"a":1,"b":"é"}}'
    )


@pytest.mark.parametrize("path", ["", "add/", "1/change/", "1/receipt/"])
async def test_pages_fit_a_phone(form: Page, path: str) -> None:
    await publish(form, "x" * 2000)
    await form.set_viewport_size({"width": 390, "height": 800})
    await form.goto(URL + path)
    width = await form.evaluate("document.documentElement.scrollWidth")
    assert width == 390


# --- without the channel layer -----------------------------------------------------------


async def test_a_receipt_is_partial_until_the_channel_layer_is_back(
    browser: Browser, first: LiveSite, redis: Redis, topic: str
) -> None:
    session = first.manage("shell", "-v0", "-c", SIGN_IN).strip()
    context = await browser.new_context(base_url=first.url)
    cookie = {"name": "sessionid", "value": session, "url": first.url}
    await context.add_cookies([cookie])  # type: ignore[list-item]
    reader, form = await context.new_page(), await context.new_page()
    await reader.goto(f"/live/?topic={topic}")
    await reader.wait_for_selector("main[data-state=open]")
    await form.goto(f"{URL}add/?topic={topic}")
    await expect(form.locator("#readers")).to_have_text("1 connection reads this now")
    redis.stop()
    await expect(form.locator("#readers")).to_have_text(
        f"At least 1 connection reads this now · {DOWN}"
    )
    await publish(form, "while it is down")
    await expect_events(reader, '"while it is down"')
    state = form.locator("#state")
    await form.wait_for_selector("#receipt[data-state=partial]")
    await expect(state).to_have_text("delivered on this node")
    await expect(form.locator("#notes")).to_contain_text(DOWN)
    redis.start()
    await form.wait_for_selector("#receipt[data-state=complete]")
    await expect(state).to_have_text("delivered")
    await context.close()
