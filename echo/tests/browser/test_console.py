"""The echo console in a browser."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN = "main[data-state=open]"
CLOSED = "main[data-state=closed]"


async def visit(page: Page, query: str = "") -> None:
    await page.goto(f"/{query}")
    await expect(page.locator("#status")).not_to_be_empty()


async def open_echo(page: Page, query: str = "") -> None:
    """Visit the console and open its connection."""
    await visit(page, query)
    await page.click("#open")
    await page.wait_for_selector(OPEN)


async def send(page: Page, text: str, format: str = "text") -> None:
    await choose(page, format)
    await page.fill("#input", text)
    await page.click("#send")


async def choose(page: Page, value: str) -> None:
    """Choose the message's format, or what the log shows."""
    await page.locator("label", has=page.locator(f"input[value={value}]")).click()


async def expand(page: Page, title: str) -> None:
    await page.get_by_role("heading", name=title).click()


def lines(page: Page) -> Locator:
    return page.locator("#output .row:not([hidden]) .line")


async def expect_lines(page: Page, *texts: str) -> None:
    """Wait until the log has exactly these lines."""
    await expect(lines(page)).to_have_text(list(texts), use_inner_text=False)


# --- gorilla's page -------------------------------------------------------------------


async def test_a_visitor_of_gorillas_page_finds_it_again(page: Page) -> None:
    await visit(page)
    await expect(page.locator(".lead")).to_have_text(
        'Click "Open" to create a connection to the server, "Send" to send a message '
        'to the server and "Close" to close the connection. You can change the message '
        "and send multiple times."
    )
    await expect(page.locator("#input")).to_have_value("Hello world!")
    for name in ("open", "close", "send"):
        button = page.locator(f"#{name}")
        await expect(button).to_have_text(name.title())


async def test_the_log_has_gorillas_lines(page: Page) -> None:
    await open_echo(page)
    await page.click("#send")
    await expect_lines(page, "OPEN", "SEND: Hello world!", "RESPONSE: Hello world!")
    await page.click("#close")
    await expect(lines(page).last).to_have_text("CLOSE")


async def test_what_makes_no_sense_does_nothing(page: Page) -> None:
    await visit(page)
    await page.click("#send")
    await page.click("#close")
    await page.click("#open")
    await page.wait_for_selector(OPEN)
    await page.click("#open")
    await page.click("#send")
    await expect_lines(page, "OPEN", "SEND: Hello world!", "RESPONSE: Hello world!")


async def test_enter_sends_and_shift_enter_breaks_the_line(page: Page) -> None:
    await open_echo(page)
    await page.fill("#input", "one")
    await page.press("#input", "Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    await expect_lines(page, "OPEN", "SEND: one\ntwo", "RESPONSE: one\ntwo")


async def test_an_empty_message_comes_back_empty(page: Page) -> None:
    await open_echo(page)
    await send(page, "")
    await expect_lines(page, "OPEN", "SEND: ", "RESPONSE: ")


# --- the connection -------------------------------------------------------------------


async def test_the_state_is_told_in_an_attribute_and_a_word(page: Page) -> None:
    await visit(page, "?hang=10s")
    word = page.locator("#state-word")
    await expect(word).to_have_text("closed")
    await page.click("#open")
    await page.wait_for_selector("main[data-state=connecting]")
    await expect(word).to_have_text("connecting")
    await page.click("#close")
    await page.wait_for_selector(CLOSED)
    await page.goto("/")
    await page.click("#open")
    await page.wait_for_selector(OPEN)
    await expect(word).to_have_text("open")


async def test_a_refused_handshake_shows_the_servers_reason(page: Page) -> None:
    await visit(page, "?jitter=2")
    await page.click("#open")
    await page.wait_for_selector("main[data-state=refused]")
    reason = "400: jitter: expected a number from 0 to 1, such as 0.25, got '2'"
    await expect(page.locator("#status")).to_have_text(reason)
    await expect_lines(page, f"ERROR: {reason}", "CLOSE")
    await expect(page.locator("[data-kind=close] .note")).to_contain_text("1006")


async def test_a_refusal_that_was_asked_for_is_told_as_such(page: Page) -> None:
    await visit(page, "?reject=418")
    await page.click("#open")
    await expect(page.locator("#status")).to_have_text(
        "418: refused, as the knob reject asks."
    )


async def test_the_server_judges_knobs_while_they_are_typed(page: Page) -> None:
    await visit(page)
    await expand(page, "Knobs")
    delay = page.locator("[data-knob=delay]")
    await delay.fill("11s")
    await expect(page.locator("#knobs-problem")).to_have_text(
        "delay: expected a duration from 0s to 10s, got '11s'"
    )
    await expect(delay).to_have_attribute("aria-invalid", "true")
    await delay.fill("10s")
    await expect(page.locator("#knobs-problem")).to_be_empty()
    await expect(delay).to_have_attribute("aria-invalid", "false")


async def test_the_pages_address_holds_the_knobs_and_restores_them(page: Page) -> None:
    await visit(page)
    await expand(page, "Knobs")
    await page.fill("[data-knob=close_reason]", "bye & 你好")
    await page.check("[data-knob=handshake]")
    address = await page.locator("#address").text_content()
    await page.reload()
    await expect(page.locator("[data-knob=close_reason]")).to_have_value("bye & 你好")
    await expect(page.locator("[data-knob=handshake]")).to_be_checked()
    await expect(page.locator("#address")).to_have_text(address or "")
    assert address
    assert address.endswith("/echo?handshake=1&close_reason=bye+%26+%E4%BD%A0%E5%A5%BD")


async def test_a_misspelled_knob_in_the_pages_address_is_told(page: Page) -> None:
    await visit(page, "?dealy=1s")
    await expect(page.locator("#ignored")).to_contain_text("dealy")


async def test_an_offered_subprotocol_is_selected_by_default(page: Page) -> None:
    await visit(page)
    await expand(page, "Knobs")
    await page.fill("#protocols", "chat, v2.chat")
    await expect(page.locator("[data-knob=subprotocol]")).to_have_value("*")
    await page.click("#open")
    await page.wait_for_selector(OPEN)
    await expect(page.locator("[data-kind=open] .note")).to_contain_text("chat")


async def test_offers_of_which_none_is_selected_are_explained(page: Page) -> None:
    await visit(page, "?protocols=chat")
    await expect(page.locator("#protocols-problem")).to_contain_text("set the knob")
    await page.click("#open")
    await expect(page.locator("#status")).to_contain_text("the server selected none")


async def test_open_leads_to_a_subprotocol_that_browsers_refuse(page: Page) -> None:
    await visit(page, "?protocols=a/b")
    await expand(page, "Knobs")  # which the query had opened: this closes it
    await page.click("#open")
    await expect(page.locator("#protocols")).to_be_focused()
    await expect(page.locator("#protocols-problem")).to_contain_text("“a/b”")
    await expect(lines(page)).to_have_count(0)


async def test_a_close_carries_the_chosen_code_and_reason(page: Page) -> None:
    await open_echo(page)
    await expand(page, "Closing and reconnecting")
    await page.fill("#close-code", "4321")
    await page.fill("#close-reason", "done")
    await page.click("#close")
    note = page.locator("[data-kind=close] .note")
    await expect(note).to_have_text(
        "4321 · clean · reason “done” · "
        "Private use: its meaning is the application's own."
    )


async def test_a_code_that_browsers_refuse_is_explained_before(page: Page) -> None:
    await open_echo(page)
    await expand(page, "Closing and reconnecting")
    await page.fill("#close-code", "1001")
    await page.click("#close")
    await expect(page.locator("#close-problem")).to_contain_text("1000 or 3000–4999")
    await page.fill("#close-code", "1000")
    await page.fill("#close-reason", "王" * 42)
    await page.click("#close")
    await expect(page.locator("#close-problem")).to_contain_text("at most 123 bytes")
    await expect_lines(page, "OPEN")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?close_after=0&close_code=1012", "1012 · clean · Service restart"),
        ("?drop_after=0", "1006 · not clean · Abnormal"),
    ],
)
async def test_the_servers_close_is_explained(
    page: Page, query: str, words: str
) -> None:
    await visit(page, query)
    await page.click("#open")
    await expect(page.locator("[data-kind=close] .note")).to_contain_text(words)
    await expect(page.locator("#status")).to_contain_text(words)


async def test_a_lost_connection_is_opened_again_until_cancelled(page: Page) -> None:
    await visit(page, "?drop_after=0")
    await expand(page, "Closing and reconnecting")
    await page.check("#reconnect")
    await page.click("#open")
    await expect(page.locator("[data-kind=open]").nth(1)).to_be_visible()
    # Waits grow with each attempt: one comes that leaves time to press the button.
    status = page.locator("#status")
    await expect(status).to_have_text(re.compile(r" in [1-9]\d?\.\d s"))
    await page.get_by_role("button", name="Cancel").click()
    await page.wait_for_selector(CLOSED)
    await expect(status).to_have_text("Reconnecting was cancelled.")


async def test_a_connection_that_was_closed_here_is_not_opened_again(
    page: Page,
) -> None:
    await open_echo(page)
    await expand(page, "Closing and reconnecting")
    await page.check("#reconnect")
    await page.click("#close")
    await expect_lines(page, "OPEN", "CLOSE")
    await page.wait_for_selector(CLOSED)


# --- messages -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "text", "dump"),
    [
        ("hex", "48 69 00 ff", "48 69 00 ff"),
        ("base64", "SGkA/w==", "48 69 00 ff"),
    ],
)
async def test_binary_answers_are_shown_as_a_hex_dump(
    page: Page, format: str, text: str, dump: str
) -> None:
    await open_echo(page)
    await send(page, text, format)
    row = page.locator("[data-direction=received]")
    await expect(row.locator(".line")).to_have_text(
        re.compile(rf"^RESPONSE: 00000000  {dump} +\|Hi\.\.\|$")
    )
    await expect(row.locator(".type")).to_have_text("binary")
    await expect(row.locator(".length")).to_have_text("4")
    await expect(row.locator(".round-trip")).to_have_text(re.compile(r"^\d+\.\d ms$"))


async def test_a_file_is_sent_as_bytes(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "three.bin"
    path.write_bytes(b"\x00\x01\x02")
    await open_echo(page)
    await choose(page, "file")
    await page.set_input_files("#file", path)
    await page.click("#send")
    received = page.locator("[data-direction=received] .line")
    await expect(received).to_contain_text("00 01 02")


async def test_json_is_checked_before_it_is_sent(page: Page) -> None:
    await open_echo(page)
    await send(page, "{a: 1}", "json")
    await expect(page.locator("#message-problem")).to_contain_text("Not JSON: ")
    await send(page, '{"a": 1}', "json")
    await expect(page.locator("#message-problem")).to_be_empty()
    await expect_lines(page, "OPEN", 'SEND: {"a": 1}', 'RESPONSE: {"a": 1}')


async def test_what_was_not_sent_has_no_round_trip(page: Page) -> None:
    await open_echo(page, "?handshake=1")
    await page.click("#send")
    times = page.locator("[data-direction=received] .round-trip")
    await expect(times).to_have_text(["", re.compile(r"^\d+\.\d ms$")])


async def test_repeating_goes_on_until_it_is_stopped(page: Page) -> None:
    await open_echo(page)
    await page.fill("#interval", "1")
    await page.click("#repeat")
    await expect(page.locator("[data-direction=received]").nth(9)).to_be_attached()
    repeat = page.locator("#repeat")
    await expect(repeat).to_have_attribute("aria-pressed", "true")
    await repeat.click()
    await expect(repeat).to_have_attribute("aria-pressed", "false")
    # The counts meet when nothing is sent any more and everything has come back.
    await page.click("#close")
    await page.wait_for_selector(CLOSED)
    await page.click("#open")
    await page.wait_for_selector(OPEN)
    await send(page, "the last")
    await expect(lines(page).last).to_have_text("RESPONSE: the last")
    await expect(lines(page).nth(-2)).to_have_text("SEND: the last")


async def test_a_bad_interval_is_explained(page: Page) -> None:
    await open_echo(page)
    await page.fill("#interval", "0")
    await page.click("#repeat")
    problem = page.locator("#message-problem")
    await expect(problem).to_contain_text("from 1 to 3,600,000, got “0”")


async def test_arrow_up_brings_back_what_was_sent_even_after_a_reload(
    page: Page,
) -> None:
    await open_echo(page)
    await send(page, "48 69", "hex")
    await send(page, "second")
    await page.reload()
    field = page.locator("#input")
    await field.fill("draft")
    await field.press("ArrowUp")
    await expect(field).to_have_value("second")
    await field.press("ArrowUp")
    await expect(field).to_have_value("48 69")
    await expect(page.locator("input[value=hex]")).to_be_checked()
    await field.press("ArrowDown")
    await field.press("ArrowDown")
    await expect(field).to_have_value("draft")


async def test_named_messages_are_kept_used_and_deleted(page: Page) -> None:
    await visit(page)
    await page.fill("#input", "to keep")
    await page.get_by_text("Saved messages").click()
    await page.fill("#save-name", "greeting")
    await page.press("#save-name", "Enter")
    await page.reload()
    await page.get_by_text("Saved messages").click()
    await page.get_by_role("button", name="greeting", exact=True).click()
    await expect(page.locator("#input")).to_have_value("to keep")
    await page.get_by_role("button", name="Delete greeting").click()
    await expect(page.locator("#saved li")).to_have_count(0)


# --- the log --------------------------------------------------------------------------


async def burst(page: Page, count: int) -> None:
    """Press Send this many times in one task, with numbered messages."""
    await page.evaluate(
        """(count) => {
          const input = document.querySelector("#input");
          const field = Object.getOwnPropertyDescriptor(
            HTMLTextAreaElement.prototype, "value");
          const send = async () => {
            for (let number = 1; number <= count; number++) {
              field.set.call(input, `message ${number}`);
              document.querySelector("#send").click();
              await Promise.resolve();
            }
          };
          return send();
        }""",
        count,
    )


async def test_the_log_keeps_the_newest_two_thousand_rows(page: Page) -> None:
    await open_echo(page)
    await burst(page, 3000)
    newest = lines(page).last
    await expect(newest).to_have_text("RESPONSE: message 3000")
    await expect(lines(page)).to_have_count(2000)
    await expect(newest).to_be_in_viewport()
    await expect(page.locator("#shown-total")).to_have_text("rows 2,000")
    await expect(page.locator("#received-total")).to_contain_text("3,000")


async def test_scrolling_up_pauses_the_log_until_asked_for_the_latest(
    page: Page,
) -> None:
    await open_echo(page)
    await burst(page, 100)
    await expect(lines(page).last).to_have_text("RESPONSE: message 100")
    await page.hover("#output")
    await page.mouse.wheel(0, -600)
    latest = page.locator("#latest")
    await expect(latest).to_have_text("Jump to latest")
    await send(page, "unseen")
    await expect(latest).to_have_text("Jump to latest (2 new)")
    await expect(lines(page).last).to_have_text("RESPONSE: message 100")
    await latest.click()
    await expect(lines(page).last).to_have_text("RESPONSE: unseen")
    await expect(lines(page).last).to_be_in_viewport()
    await expect(latest).to_be_hidden()


async def test_the_log_is_filtered_and_searched(page: Page) -> None:
    await open_echo(page)
    await send(page, "apple")
    await send(page, "pear")
    await expect(lines(page)).to_have_count(5)
    await choose(page, "received")
    await expect_lines(page, "RESPONSE: apple", "RESPONSE: pear")
    await page.fill("#search", "PEAR")
    await expect_lines(page, "RESPONSE: pear")
    await expect(page.locator("#shown-total")).to_have_text("rows 1 of 5")
    await send(page, "another pear")
    await expect_lines(page, "RESPONSE: pear", "RESPONSE: another pear")
    await choose(page, "all")
    await page.fill("#search", "")
    await expect(lines(page)).to_have_count(7)


async def test_a_cleared_log_is_empty_and_goes_on(page: Page) -> None:
    await open_echo(page)
    await page.click("#clear")
    await expect(lines(page)).to_have_count(0)
    await expect(page.locator("#empty")).to_be_visible()
    await page.click("#send")
    await expect_lines(page, "SEND: Hello world!", "RESPONSE: Hello world!")


async def test_long_messages_are_cut_in_view_and_whole_in_copy_and_export(
    page: Page,
) -> None:
    long = "x" * 100_000
    await open_echo(page)
    await send(page, long)
    await expect(lines(page).nth(2)).to_have_text(re.compile(r"^RESPONSE: x{240}…$"))
    await page.click("#copy-log")
    await expect(page.locator("#copy-log")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert f"RESPONSE: {long}\n" in copied
    async with page.expect_download() as started:
        await page.click("#export")
    path = await (await started.value).path()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["direction"] for row in rows] == ["event", "sent", "received"]
    assert rows[2]["text"] == long
    assert rows[2]["bytes"] == 100_000
    assert rows[2]["round_trip_ms"] > 0


async def test_a_selected_row_is_shown_whole_and_copied(page: Page) -> None:
    await open_echo(page)
    await send(page, '{"a":{"b":1}}', "json")
    await page.locator("[data-direction=received]").click()
    body = page.locator("#inspector-body")
    await expect(body).to_have_text('{\n  "a": {\n    "b": 1\n  }\n}')
    await page.click("#copy-row")
    await expect(page.locator("#copy-row")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == '{"a":{"b":1}}'
    await page.click("#close-inspector")
    await expect(body).to_be_hidden()


async def test_long_numbers_are_not_rounded_by_the_reader(page: Page) -> None:
    await open_echo(page)
    await send(page, '{"id":12345678901234567890}', "json")
    await page.locator("[data-direction=received]").click()
    body = page.locator("#inspector-body")
    await expect(body).to_have_text('{"id":12345678901234567890}')


async def test_messages_are_shown_as_text_never_as_markup(page: Page) -> None:
    markup = '<img src="/nowhere"><b>bold</b>'
    await open_echo(page)
    await send(page, markup)
    await expect_lines(page, "OPEN", f"SEND: {markup}", f"RESPONSE: {markup}")
    await expect(page.locator("#output img")).to_have_count(0)


# --- everybody ------------------------------------------------------------------------


async def test_the_keyboard_alone_is_enough(page: Page) -> None:
    await visit(page)
    await page.focus("#open")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(OPEN)
    await page.focus("#input")
    await page.keyboard.press("Enter")
    await expect(lines(page)).to_have_count(3)
    await page.focus("#output")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowUp")
    selected = page.locator("[aria-selected=true]")
    await expect(selected.locator(".line")).to_have_text("SEND: Hello world!")
    await page.keyboard.press("Escape")
    await expect(selected).to_have_count(0)


async def test_every_control_has_a_name_and_can_be_reached(page: Page) -> None:
    await visit(page)
    await expand(page, "Knobs")
    controls = page.locator(
        "button:visible, input:visible, textarea:visible, a:visible"
    )
    for control in await controls.all():
        name = await control.evaluate(
            "element => element.ariaLabel || element.labels?.[0]?.textContent.trim()"
            " || element.textContent.trim()"
        )
        assert name, await control.evaluate("element => element.outerHTML")
        assert await control.evaluate("element => element.tabIndex") >= 0


async def test_a_phone_shows_the_page_without_scrolling_sideways(page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await open_echo(page, "?handshake=1&delay=10ms")
    await send(page, "x" * 300)
    await send(page, "00" * 64, "hex")
    await expect(lines(page)).to_have_count(6)
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert await page.evaluate(overflow) <= 0


async def test_the_language_is_switched_and_the_knobs_stay(page: Page) -> None:
    await visit(page, "?delay=250ms")
    await page.get_by_role("button", name="简体中文").click()
    await expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    await expect(page.locator("#open")).to_have_text("打开")
    await expect(page.locator("[data-knob=delay]")).to_have_value("250ms")
    await page.click("#open")
    await expect(page.locator("#state-word")).to_have_text("已打开")
    await page.click("#send")
    await expect_lines(page, "OPEN", "SEND: Hello world!", "RESPONSE: Hello world!")
