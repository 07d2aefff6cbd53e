"""This node in the cluster: sends its pulse, and hands each message to its receiver."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from echo.feed import metrics
from echo.feed.cluster.channel import Channel
from echo.feed.cluster.presence import NodeList, Presence
from echo.feed.cluster.stats import Stats
from echo.feed.cluster.survey import Surveys
from echo.feed.doorbell import Message, unpack_events
from echo.feed.relay import Relay
from echo.feed.rights import Rights
from echo.protocol import EventId

logger = logging.getLogger("echo.feed")

PULSE_SECONDS = 1.0


class Cluster:
    """One process's channel, and what it knows of the other nodes."""

    def __init__(
        self, relay: Relay, rights: Rights, clock: Callable[[], float]
    ) -> None:
        # Takes the events of other nodes' doorbells.
        self.relay = relay
        # Takes the accounts that changed on other nodes.
        self.rights = rights
        # Sends to all nodes, and receives from them.
        self.channel = Channel(relay.history, clock)
        # The other nodes that are alive.
        self.presence = Presence(relay.hub.node_name, clock)
        # The questions to all nodes.
        self.surveys = Surveys(relay.hub, self.channel, self.presence, clock)
        # This node's figures and state.
        self.stats = Stats(relay, self.channel, self.presence)
        # Replies and the like, kept until they are done.
        self.tasks: set[asyncio.Task[None]] = set()

    def jobs(self) -> list[Callable[[], Awaitable[None]]]:
        """Return what is to run as long as the process serves."""
        if not self.channel.reaches_others:
            return [self.stats.keep_counting]
        self.presence.settle()
        return [self.stats.keep_counting, self.keep_receiving, self.keep_pulsing]

    def follow_log(self) -> None:
        """Move to the group of the log's present life, soon."""
        self.background(self.channel.follow_log)

    def list_nodes(self, log: EventId | None) -> NodeList:
        """Return all nodes: this one as it is, the others as of their last pulse."""
        nodes = [self.stats.state(), *self.presence.others()]
        return NodeList(log, nodes, self.surveys.is_isolated())

    # --- jobs --------------------------------------------------------------------------

    async def keep_receiving(self) -> None:
        """Receive from the group until the layer fails."""
        await self.wait_for_layer()  # a channel made while it is down would be lost
        try:
            await self.channel.open()
            # Nodes that do not know this one answer with a pulse of theirs.
            await self.send_pulse()
            self.presence.settle()
            while True:
                message = await self.channel.receive()
                # An exception would cost the channel, and what comes until it is open again.
                try:
                    self.dispatch(message)
                except (KeyError, TypeError, ValueError) as error:  # another version's
                    logger.debug("a message was not understood: %r", error)
        finally:
            await self.channel.close()

    async def wait_for_layer(self) -> None:
        """Return when the layer takes a message; `keep_pulsing` warns while it does not."""
        while True:
            with contextlib.suppress(Exception):
                return await self.send_pulse()
            await asyncio.sleep(PULSE_SECONDS)

    async def keep_pulsing(self) -> None:
        """Send a pulse each second; it comes back while the layer delivers messages."""
        self.channel.received_at = self.channel.clock()
        while True:
            with contextlib.suppress(Exception):
                await self.channel.follow_log()
                await self.send_pulse()
            self.channel.check()
            self.presence.remove_gone()
            metrics.layer_up.set(self.channel.is_up)
            await asyncio.sleep(PULSE_SECONDS)

    async def send_pulse(self) -> None:
        """Send this node's state to all nodes."""
        await self.channel.send(self.stats.state().pulse())

    # --- messages ----------------------------------------------------------------------

    def dispatch(self, message: Message) -> None:
        """Hand a message of the group to what it is for."""
        if self.channel.note_received():
            self.relay.look.set()  # messages may have been lost
        match message["type"]:
            case "feed.events":
                self.relay.receive_events(
                    unpack_events(message), message.get("committed_at")
                )
            case "feed.look":
                self.relay.look.set()
            case "feed.pulse":
                self.receive_pulse(message)
            case "feed.judge":
                self.rights.receive_changes(message["changed"], message["over"])
            case "feed.ask":
                self.background(partial(self.surveys.reply, message))
            case "feed.answer":
                self.surveys.receive_answer(message)
            case unknown:  # of a newer version, while nodes are exchanged one by one
                logger.debug("the channel layer brought an unknown %r", unknown)

    def receive_pulse(self, message: Message) -> None:
        """Note a node's pulse; look at the log if it has seen more, or less."""
        if message["head"] != str(self.relay.history.head):
            self.relay.look.set()
        if self.presence.receive_pulse(message):
            self.background(self.send_pulse)

    def background(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a coroutine function in a task that is kept until it is done."""
        task = asyncio.create_task(log_failure(function), name="feed cluster")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def log_failure(function: Callable[[], Awaitable[None]]) -> None:
    """Log failed replies; the asker times out."""
    try:
        await function()
    except Exception as error:  # noqa: BLE001 -- the layer's client's, or a newer version's
        logger.debug("a message was not sent: %r", error)
