"""The slow network holds little in memory, and ends with its client."""

import asyncio
from typing import Any

import pytest

from echo.lab.slow import MAX_BYTES_UNDER_WAY, SlowSend, slow

PAGE = {"type": "websocket.send", "bytes": bytes(MAX_BYTES_UNDER_WAY)}


async def test_an_application_waits_while_so_many_bytes_are_under_way() -> None:
    send = SlowSend(None)
    await send(PAGE)  # a message may be of any size
    waiting = asyncio.create_task(send(PAGE))
    await asyncio.sleep(0)
    assert send.under_way.qsize() == 1
    assert not waiting.done()
    waiting.cancel()


async def test_an_application_that_sends_ends_when_the_client_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("echo.lab.slow.DELAY_SECONDS", 0)
    monkeypatch.setattr("echo.lab.slow.BYTES_PER_SECOND", 1e9)

    async def gone(message: Any) -> None:
        raise OSError

    async def application(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(100):
            await send(PAGE)

    async with asyncio.timeout(60):
        await slow(application)({"type": "websocket"}, None, gone)
