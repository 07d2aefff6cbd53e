"""An operator's whole story: publish, find the reader, disconnect it, read the log of actions."""

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from echo.tests.live import LiveSite

pytestmark = pytest.mark.asyncio(loop_scope="session")

MAKE_OPERATOR = """
from django.contrib.auth.models import Permission, User
name = "{name}"
user = User.objects.create_user(name, password="operate-operate", is_staff=True)
names = ["view_event", "add_event", "view_connection", "end_connection"]
user.user_permissions.set(Permission.objects.filter(codename__in=names))
"""
TEXT = '{"hall": "B", "doors": [1, 2]}'
REASON = "the hall is closing"
operators = count()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser, site: LiveSite) -> AsyncIterator[Page]:
    """A tab of another visitor, in a browser context of its own."""
    context = await browser.new_context(base_url=site.url)
    yield await context.new_page()
    await context.close()


async def sign_in(page: Page, site: LiveSite, name: str) -> None:
    """Sign in a new operator with the admin's own form."""
    code = MAKE_OPERATOR.format(name=name)
    await asyncio.to_thread(site.manage, "shell", "-v0", "-c", code)
    await page.goto("/admin/")
    await page.fill("#id_username", name)
    await page.fill("#id_password", "operate-operate")
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url("**/admin/")


async def publish(operator: Page, topic: str, data: str) -> None:
    """Fill in the form, which must be open, and publish JSON."""
    await operator.fill("#id_topic", topic)
    await operator.check("input[value=json]")
    await operator.fill("#id_data", data)
    await operator.get_by_role("button", name="Publish").click()
    await operator.wait_for_selector("#receipt")


async def expect_receipt(operator: Page, state: str, delivered: str) -> None:
    """Wait until the receipt is final, with this state and count."""
    receipt = operator.locator("#receipt")
    await expect(receipt).to_have_attribute("data-state", "complete")
    await expect(receipt.locator("#state")).to_have_text(state)
    await expect(receipt.locator("#delivered")).to_have_text(delivered)


async def play(operator: Page, reader: Page, site: LiveSite, nodes: str) -> None:
    """Play the story; ``nodes`` is the receipt's text for their number."""
    name = f"narrator{next(operators)}"
    topic = f"story.{name}"
    payloads = reader.locator("#output [data-direction=received] .payload")
    await reader.goto(f"/live/?topic={topic}")
    await reader.wait_for_selector("main[data-state=open]")
    await reader.evaluate("window.isTheSame = true")
    await sign_in(operator, site, name)

    await operator.get_by_role("link", name="Events", exact=True).click()
    await operator.get_by_role("link", name="Publish an event").click()
    await publish(operator, topic, TEXT)
    await expect(payloads).to_have_text(['{"hall":"B","doors":[1,2]}'])
    await expect_receipt(operator, "delivered", f"1 of 1 connection {nodes}")

    await operator.get_by_role("link", name="Live connections that read it").click()
    rows = operator.locator("tr[data-id]")
    await expect(rows).to_have_count(1)
    await expect(rows.locator(".field-topics")).to_have_text(topic)
    connection = str(await rows.get_attribute("data-id"))
    await rows.locator(".action-select").check()
    await operator.select_option("select[name=action]", "disconnect")
    await operator.get_by_role("button", name="Go").click()
    await operator.fill("#id_reason", REASON)
    await operator.get_by_role("button", name="Yes, I’m sure").click()
    await expect(operator.locator(".messagelist")).to_contain_text(
        "1 connection disconnected"
    )
    await expect(reader.locator("#status")).to_contain_text(
        f"Disconnected by an operator: {REASON}. This page does not reconnect"
    )
    await expect(rows).to_have_count(0)

    await operator.goto(f"/admin/echo/event/add/?topic={topic}")
    await expect(operator.locator("#readers")).to_have_text(
        "0 connections read this now"
    )
    await publish(operator, topic, '"nobody hears this"')
    await expect_receipt(
        operator, "published, no reader", f"0 of 0 connections {nodes}"
    )
    await expect(operator.locator("#notes")).to_contain_text(
        "No connection read this topic"
    )
    await expect(reader.locator("main")).to_have_attribute("data-state", "closed")
    await expect(payloads).to_have_count(1)
    assert await reader.evaluate("window.isTheSame")

    await operator.goto("/admin/")
    actions = operator.locator("#recent-actions-module li")
    await expect(actions).to_have_text(
        [
            re.compile(rf"{topic} \d+\s+Event"),
            re.compile(rf"{connection}\s+Live connection"),
            re.compile(rf"{topic} \d+\s+Event"),
        ]
    )
    await actions.last.get_by_role("link").click()
    await operator.get_by_role("link", name="History").click()
    await expect(operator.locator("#change-history tbody")).to_contain_text(name)


async def test_an_operator_follows_an_event_to_its_reader_and_disconnects_it(
    page: Page, visitor: Page, site: LiveSite
) -> None:
    await play(page, visitor, site, "on 1 node")


async def test_an_operator_on_one_node_disconnects_a_reader_on_another(
    browser: Browser, first: LiveSite, second: LiveSite
) -> None:
    here = await browser.new_context(base_url=first.url)
    there = await browser.new_context(base_url=second.url)
    operator, reader = await here.new_page(), await there.new_page()
    await play(operator, reader, first, "on 2 nodes")
    await here.close()
    await there.close()
