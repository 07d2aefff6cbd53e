"""A stock Channels consumer, as the Channels tutorial has it: the race's fifth lane.

No log, no cursor, no bounds of its own: what is sent to the group while a reader is away is
lost. The feed's four lanes get the same events at the same moment.
"""

import asyncio
import logging
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.utils.translation import gettext as _

from echo.handshake import refuse
from echo.lab.bounds import LabError, Slots, address_of
from echo.lab.race import MAX_RACES, MAX_RACES_PER_ADDRESS, RACE_ID

logger = logging.getLogger("echo.lab")

# With several nodes, the lanes of other nodes' races may all be opened at this one.
slots = Slots(20 * MAX_RACES, per_address=5 * MAX_RACES_PER_ADDRESS)
# Longer than a race.
LIFETIME_SECONDS = 90.0


class StockConsumer(AsyncJsonWebsocketConsumer):
    """Joins the race's group, and sends each event of the group to its client."""

    async def connect(self) -> None:
        self.group = f"race.{self.scope['url_route']['kwargs']['race']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def race_event(self, message: dict[str, Any]) -> None:
        """Send an event of the group."""
        await self.send_json(message["event"])


application = StockConsumer.as_asgi()


async def stock(scope: Any, receive: Any, send: Any) -> None:
    """Run the consumer for the race in the query string, bounded in number and time."""
    given = parse_qs(scope["query_string"].decode("latin-1")).get("race", [""])
    if not RACE_ID.fullmatch(given[0]):
        return await refuse(send, 400, _("race: expected the id of a race"))
    try:
        with slots.slot(address_of(scope)):
            await run_consumer(given[0], scope, receive, send)
    except LabError as error:
        await refuse(send, error.status, str(error))


async def run_consumer(race: str, scope: Any, receive: Any, send: Any) -> None:
    """Run the consumer. Raises LabError if the channel layer fails before the handshake."""
    is_accepted = False

    async def send_and_see(message: Any) -> None:
        nonlocal is_accepted
        is_accepted = is_accepted or message["type"] == "websocket.accept"
        await send(message)

    route = {"url_route": {"args": (), "kwargs": {"race": race}}}
    try:
        await application(scope | route, limited(receive, send), send_and_see)
    except OSError:  # the client has gone
        raise
    except Exception as error:  # noqa: BLE001 -- whatever the layer's client raises
        logger.warning("race: a stock lane ends, the channel layer failed: %r", error)
        if not is_accepted:
            raise LabError(
                _("the channel layer is down: try again a little later"), 503
            ) from None


def limited(receive: Any, send: Any) -> Any:
    """Return a ``receive`` that closes the connection at the end of its lifetime."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + LIFETIME_SECONDS

    async def receive_in_time() -> Any:
        try:
            async with asyncio.timeout_at(ends_at):
                return await receive()
        except TimeoutError:
            await send({"type": "websocket.close"})
            # The consumer leaves its group, as after any end.
            return {"type": "websocket.disconnect", "code": 1000}

    return receive_in_time
