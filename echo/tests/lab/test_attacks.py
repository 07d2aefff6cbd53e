"""What one stranger could take from all other visitors, on a running site."""

import asyncio
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from echo.tests.live import LiveSite

ONE, OTHER = ({"X-Forwarded-For": f"192.0.2.{number}"} for number in (1, 2))


async def test_one_address_cannot_hold_all_stock_lanes(tmp_path: Path) -> None:
    with LiveSite("uvicorn", tmp_path) as site:
        url = f"{site.ws_url}/transports/stock?race={'A' * 22}"
        sockets = []
        try:
            for _ in range(100):
                sockets.append(await connect(url, additional_headers=ONE, proxy=None))
        except InvalidStatus as error:
            assert error.response.status_code == 429  # noqa: PT017
        async with connect(url, additional_headers=OTHER, proxy=None):
            pass
        assert len(sockets) < 100
        await asyncio.gather(*(socket.close() for socket in sockets))
