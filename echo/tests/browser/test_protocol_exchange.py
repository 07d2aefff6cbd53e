"""The page Protocol: the handshake, and the comparisons with TCP and with HTTP."""

import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # for the key of RFC 6455 section 1.3


async def test_the_answer_is_computed_while_a_key_is_typed(page: Page) -> None:
    await page.goto("/protocol/")
    answer = page.locator("#handshake output[data-step=accept]")
    await expect(answer).to_have_text(ACCEPT)
    key = page.get_by_label("Sec-WebSocket-Key")
    await key.fill("c2hvcnQ=")
    await expect(page.locator("#handshake-key-problem")).to_contain_text("got 5 bytes")
    await expect(answer).to_have_text("–")
    await page.get_by_role("button", name="Random key").click()
    await expect(page.locator("#handshake-key-problem")).to_be_empty()
    await expect(answer).not_to_have_text("–")
    chosen = await key.input_value()
    await page.reload()
    await expect(page.get_by_label("Sec-WebSocket-Key")).to_have_value(chosen)


async def test_the_computed_answer_is_the_servers(page: Page) -> None:
    await page.goto("/protocol/?handshake_key=AAAAAAAAAAAAAAAAAAAAAA%3D%3D")
    computed = await page.locator("output[data-step=accept]").text_content()
    await page.get_by_role("button", name="Send it").click()
    await expect(page.locator("#handshake-verdict")).to_contain_text("Accepted: 101")
    await expect(page.locator("#handshake-answer")).to_contain_text(
        f"Sec-WebSocket-Accept: {computed}"
    )


async def test_a_ready_made_mistake_is_sent_and_its_rule_named(page: Page) -> None:
    await page.goto("/protocol/")
    await page.get_by_label("What to change").select_option("Another version: 8")
    await page.get_by_role("button", name="Send it").click()
    await expect(page.locator("#handshake-verdict")).to_have_text(
        "Refused: 426 Upgrade Required"
    )
    section = page.locator("#handshake-reason a").first
    await expect(section).to_have_text("RFC 6455 section 4.2.2")
    await expect(section).to_have_attribute(
        "href", "https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2"
    )
    await page.get_by_role("button", name="Sec-WebSocket-Version: 13").focus()
    await expect(page.locator("#handshake-meaning")).to_contain_text("versions")


async def test_a_line_is_dropped_and_another_changed_and_shared_by_the_address(
    page: Page,
) -> None:
    await page.goto("/protocol/")
    lines = page.get_by_label("Line of the request")
    await lines.nth(2).focus()
    await expect(page.locator("#handshake-meaning")).to_contain_text("another protocol")
    await page.get_by_role("button", name="Drop this line").nth(3).press("Enter")
    await lines.nth(0).fill("POST /echo HTTP/1.1")
    await expect(page.get_by_label("What to change")).to_have_value("own")
    await page.reload()
    await expect(page.get_by_label("Line of the request")).to_have_count(6)
    await page.get_by_role("button", name="Send it").press("Enter")
    await expect(page.locator("#handshake-verdict")).to_contain_text("405")


async def test_a_request_to_another_path_is_refused_in_words(page: Page) -> None:
    await page.goto("/protocol/")
    await page.get_by_label("Line of the request").nth(0).fill("GET /metrics HTTP/1.1")
    async with page.expect_response("**/protocol/handshake") as response:
        await page.get_by_role("button", name="Send it").click()
    assert (await response.value).status == 400
    await expect(page.locator("#handshake-verdict")).to_contain_text("/feed/ws")


async def test_a_burst_is_joined_and_cut_by_tcp_and_not_by_websocket(
    page: Page,
) -> None:
    await page.goto("/protocol/?streams_count=12&streams_sizes=equal")
    section = page.locator("#streams")
    await section.get_by_role("button", name="Send the burst").click()
    await expect(section.locator(".verdict")).to_contain_text(
        "WebSocket: 12 messages, each as it was sent"
    )
    await expect(section.locator("[data-bar=messages] .read")).to_have_count(12)
    # 12 × 40 bytes in buffers of 64.
    await expect(section.locator("[data-bar=tcp] .read")).to_have_count(8)
    await section.get_by_text("The same as a table").click()
    await expect(section.locator("tbody tr").first).to_contain_text(
        "message 1 (40 bytes), part of message 2 (24 of 40 bytes)"
    )


async def test_a_burst_beyond_its_bounds_is_refused_in_words(page: Page) -> None:
    await page.goto("/protocol/?streams_size=2048&streams_count=50&streams_buffer=1")
    section = page.locator("#streams")
    await section.get_by_role("button", name="Send the burst").press("Enter")
    await expect(section.locator(".verdict")).to_contain_text("at most 1000 reads")
    await expect(section).to_have_attribute("data-state", "failed")


async def test_updates_are_counted_three_ways(page: Page) -> None:
    await page.goto("/protocol/")
    section = page.locator("#updates")
    await section.get_by_label("Updates each way").fill("20")
    await section.get_by_label("Size, bytes").fill("16")
    await section.get_by_role("button", name="Send them three ways").click()
    await expect(section.locator(".verdict")).to_contain_text(
        "20 updates of 16 bytes each way"
    )
    cells = section.locator("[data-figure=connections]")
    await expect(cells).to_have_text(["20", "1", "1"])
    trips = section.locator("[data-figure=round_trips]")
    await expect(trips).to_have_text(["40", "21", "23"])
    assert "updates_count=20" in page.url


async def test_the_layers_name_this_pages_own_address(page: Page) -> None:
    await page.goto("/protocol/")
    host = await page.evaluate("location.host")
    section = page.locator("#layers")
    await expect(section.locator("#layers-own")).to_contain_text(f"ws://{host}/echo")
    await expect(section.get_by_text("this page", exact=True).first).to_be_visible()
    await expect(section.locator("[data-stack=wss] .own-mark")).to_be_hidden()
