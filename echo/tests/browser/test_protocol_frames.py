"""A visitor taps a connection of their own, and builds, reads and sends frames."""

import re

import pytest
from playwright.async_api import Locator, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELLO = "81 85 37 fa 21 3d 7f 9f 4d 51 58"


def tap_of(page: Page) -> Locator:
    return page.get_by_role("region", name="Your own connection, tapped")


def frames_of(page: Page) -> Locator:
    return page.get_by_role("region", name="Build and read frames")


async def press(section: Locator, name: str) -> None:
    await section.get_by_role("button", name=name, exact=True).click()


async def open_tap(page: Page) -> Locator:
    await page.goto("/protocol/")
    tap = tap_of(page)
    await press(tap, "Open")
    await expect(tap.get_by_role("status")).to_contain_text("Open and tapped")
    return tap


async def test_each_frame_of_a_connection_appears_with_its_bits(page: Page) -> None:
    tap = await open_tap(page)
    await expect(tap.get_by_text("GET /protocol/ws?tap=")).to_be_visible()
    await expect(tap.get_by_text("HTTP/1.1 101 Switching Protocols")).to_be_visible()
    await tap.get_by_role("textbox", name="Message").fill("小王子")
    await expect(page).to_have_url(re.compile("[?&]tap_message=%E5%B0%8F"))
    await press(tap, "Send text")
    rows = tap.get_by_role("list", name="Frames").get_by_role("group")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("→")
    await expect(rows.last).to_contain_text("←")
    await rows.first.locator("summary").press("Enter")
    table = rows.first.get_by_role("table", name="The frame's fields")
    await expect(table.get_by_role("row", name=re.compile("^MASK"))).to_contain_text(
        "1"
    )
    await expect(table).to_contain_text("“小王子”")


async def test_a_field_that_has_the_focus_marks_its_bytes(page: Page) -> None:
    tap = await open_tap(page)
    await press(tap, "Send text")
    rows = tap.get_by_role("list", name="Frames").get_by_role("group")
    await rows.first.locator("summary").click()
    row = rows.first.get_by_role("row", name=re.compile("^Masking key"))
    await row.get_by_role("link").focus()
    marked = rows.first.locator(".part.marked")
    await expect(marked).to_have_count(4)
    await rows.first.get_by_role("row", name=re.compile("^FIN")).hover()
    await expect(marked).to_have_text(["1"])


async def test_a_visitor_sees_what_browsers_hide(page: Page) -> None:
    tap = await open_tap(page)
    kinds = tap.locator(".tap-frame .kind")
    await press(tap, "Server, ping me")
    await expect(kinds).to_have_text(["ping", "pong"])
    await press(tap, "Server, send fragments")
    fragments = ["text …", "ping", "continuation …", "continuation", "pong"]
    await expect(kinds).to_have_text(["ping", "pong", *fragments])
    await press(tap, "Server, close with 4000")
    await expect(kinds.last).to_have_text("close")
    await expect(tap.get_by_role("status")).to_contain_text("Closed.")
    await expect(tap.locator(".tap-frame").last).to_contain_text("4000")
    await press(tap, "Open")  # again
    await expect(tap.get_by_role("status")).to_contain_text("Open and tapped")
    await press(tap, "Send 65,536 bytes")
    await expect(tap.locator(".tap-frame")).to_have_count(2)
    await press(tap, "Close")
    await expect(tap.get_by_role("status")).to_contain_text("Closed.")


async def test_a_frame_and_its_bytes_show_each_other(page: Page) -> None:
    await page.goto("/protocol/")
    frames = frames_of(page)
    digits = frames.get_by_label("Bytes in hexadecimal digits")
    await expect(digits).to_have_value(HELLO)
    await frames.get_by_label("RSV1").check()
    await expect(digits).to_have_value(re.compile("^c1 85"))
    await expect(frames.get_by_text("Frame 1 breaks a rule")).to_be_visible()
    await digits.fill(f"89 80 00 00 00 00 {HELLO}")
    await expect(frames.get_by_text("Frames: 2, all whole")).to_be_visible()
    await expect(frames.locator("[name=opcode]")).to_have_value("9")
    await frames.get_by_role("button", name="Edit: Frame 2").click()
    await expect(frames.locator("[name=payload]")).to_have_value("Hello")
    await frames.locator("[name=payload]").fill("Bye")
    await expect(digits).to_have_value(re.compile("^89 80 00 00 00 00 81 83 37 fa"))
    await press(frames, "Add as a further frame")
    await expect(frames.get_by_text("Frames: 3, all whole")).to_be_visible()


async def test_a_mistake_has_the_server_s_true_answer(page: Page) -> None:
    await page.goto("/protocol/")
    frames = frames_of(page)
    await frames.get_by_label("Ready-made").select_option("not-masked")
    await expect(frames.get_by_text("section 5.1: fails with 1002")).to_be_visible()
    await press(frames, "Send to /echo")
    await expect(frames.get_by_text("The server has closed with 1002")).to_be_visible()
    answer = frames.get_by_role("list", name="Frames of the answer")
    await expect(answer.get_by_role("table")).to_contain_text("1002")


async def test_bytes_are_in_the_address(page: Page) -> None:
    await page.goto("/protocol/")
    frames = frames_of(page)
    await frames.get_by_label("Bytes in hexadecimal digits").fill("81 85 37")
    await expect(frames.get_by_text("waits for 8 B")).to_be_visible()
    await expect(page).to_have_url(re.compile("[?&]hex=81[+]85[+]37$"))
    await page.reload()
    await expect(frames.get_by_text("waits for 8 B")).to_be_visible()


async def test_bytes_that_are_none_are_refused_with_a_reason(page: Page) -> None:
    await page.goto("/protocol/")
    frames = frames_of(page)
    await frames.get_by_label("Bytes in hexadecimal digits").fill("8z")
    await expect(frames.get_by_role("alert")).to_contain_text("hexadecimal digits")
