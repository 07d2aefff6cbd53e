"""The other nodes, as the channel layer lets this one hear of them.

Each process has one channel in one group, however many readers it has. A pulse tells the
others that this node lives and how far it is; that it comes back tells that the layer
carries. Who is connected where is asked and answered over the same channel.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from echo.feed import metrics
from echo.feed.event import Event
from echo.feed.question import Question

if TYPE_CHECKING:
    from echo.feed.relay import Relay

logger = logging.getLogger("echo.feed")

GROUP = "feed"
PULSE_SECONDS = 1.0
# Three pulses that do not come back: the channel layer is down.
LAYER_SILENCE_SECONDS = 3.5
# A node that is silent for longer is left out of an answer.
ANSWER_SECONDS = 0.75
NODE_GONE_SECONDS = 5.0


class Nodes:
    """One process's end of the channel layer, and the nodes it has heard of lately."""

    def __init__(self, relay: "Relay") -> None:
        self.relay = relay
        self.layer = get_channel_layer()
        # A layer in memory reaches nobody that the relay's own process does not.
        self.carries = not isinstance(self.layer, InMemoryChannelLayer)
        self.heard_at = 0.0
        self.up = True
        self.known: dict[str, dict[str, Any]] = {}
        self.questions: dict[str, dict[str, Any]] = {}
        self.answered = asyncio.Event()
        self.replies: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> str:
        """``none`` when this process needs no other's doorbell, else ``up`` or ``down``."""
        if not self.carries:
            return "none"
        return "up" if self.up else "down"

    async def listen(self) -> None:
        """One channel and one group membership for the whole process."""
        await self.until_it_takes()  # a channel made while it is down would be lost
        channel = await self.layer.new_channel("feed")
        try:
            await self.layer.group_add(GROUP, channel)
            while True:
                self.hear(await self.layer.receive(channel))
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(PULSE_SECONDS):
                    await self.layer.group_discard(GROUP, channel)

    async def until_it_takes(self) -> None:
        """Returns when the layer takes a message; that it takes none, ``pulse`` tells."""
        while True:
            with contextlib.suppress(Exception):
                return await self.send_pulse()
            await asyncio.sleep(PULSE_SECONDS)

    def hear(self, message: dict[str, Any]) -> None:
        """Takes one message of the group."""
        self.heard_at = self.relay.loop.time()
        if not self.up:
            logger.info("the channel layer is back")
            self.up = True
            self.relay.look.set()
        match message["type"]:
            case "feed.events":
                self.relay.take(unpack(message), message.get("committed_at"))
            case "feed.look":
                self.relay.look.set()
            case "feed.pulse":
                self.known[message["node"]] = message | {
                    "heard_at": self.relay.loop.time()
                }
                if message["head"] != str(self.relay.head):
                    self.relay.look.set()
            case "feed.ask":
                self.background(self.reply(message))
            case "feed.answer":
                if (answers := self.questions.get(message["question"])) is not None:
                    answers[message["node"]] = message["answer"]
                    self.answered.set()
            case unknown:
                raise ValueError(f"expected a feed message, got {unknown!r}")

    async def pulse(self) -> None:
        """Tells the other nodes of this one, and finds out whether the layer carries."""
        self.heard_at = self.relay.loop.time()
        while True:
            with contextlib.suppress(Exception):
                await self.send_pulse()
            silence = self.relay.loop.time() - self.heard_at
            if silence > LAYER_SILENCE_SECONDS and self.up:
                self.up = False
                logger.warning(
                    "the channel layer is silent: events are found in the log, a second "
                    "late at most"
                )
            metrics.layer_up.set(self.up)
            await asyncio.sleep(PULSE_SECONDS)

    async def send_pulse(self) -> None:
        async with asyncio.timeout(PULSE_SECONDS):
            pulse = self.relay.stats.describe() | {"type": "feed.pulse"}
            await self.layer.group_send(GROUP, pulse)

    async def ask(self, question: Question) -> dict[str, Any]:
        """All nodes' answers as one, with the ``nodes`` that gave them and the ``silent``.

        Waits for every node that has been heard of lately, 0.75 s at most.
        """
        if not (self.carries and self.up):
            answers = {self.relay.node: await question.answer(self.relay)}
            return question.merge(answers) | {"nodes": [self.relay.node], "silent": []}
        identity = secrets.token_hex(8)
        answers = self.questions[identity] = {}
        ask = {"type": "feed.ask", "question": identity, "node": self.relay.node}
        expected = self.known.keys() | {self.relay.node}
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.layer.group_send(GROUP, ask | question.packed())
                answers[self.relay.node] = await question.answer(self.relay)
                while not expected <= answers.keys():
                    self.answered.clear()
                    await self.answered.wait()
        except TimeoutError:
            pass  # a node that does not answer is named
        finally:
            del self.questions[identity]
        told = {"nodes": sorted(answers), "silent": sorted(expected - answers.keys())}
        return question.merge(answers) | told

    async def reply(self, message: dict[str, Any]) -> None:
        """Answers another node's question, to everybody: nobody else has its number."""
        if message["node"] == self.relay.node:
            return
        question = Question.unpack(message)
        reply = {
            "type": "feed.answer",
            "question": message["question"],
            "node": self.relay.node,
            "answer": await question.answer(self.relay),
        }
        with contextlib.suppress(Exception):
            await self.layer.group_send(GROUP, reply)

    def background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine in a task that is kept until it is done."""
        task = asyncio.create_task(coroutine, name="feed reply")
        self.replies.add(task)
        task.add_done_callback(self.replies.discard)

    def describe(self) -> list[dict[str, Any]]:
        """This node as it is, and the others as they last told."""
        own = self.relay.stats.describe()
        return [own] + [
            node for name, node in self.known.items() if name != own["node"]
        ]

    def forget_gone(self) -> None:
        """Drops the nodes whose pulse has stopped."""
        horizon = self.relay.loop.time() - NODE_GONE_SECONDS
        self.known = {k: v for k, v in self.known.items() if v["heard_at"] > horizon}


def message(events: list[Event], committed_at: float, max_bytes: int) -> dict[str, Any]:
    """Events as one message of the channel layer, or a word to look when they are too big."""
    if sum(event.size for event in events) > max_bytes:
        return {"type": "feed.look"}
    return {
        "type": "feed.events",
        "epoch": events[0].epoch,
        "committed_at": committed_at,
        "events": [event.packed() for event in events],
    }


def unpack(message: dict[str, Any]) -> list[Event]:
    """The events of such a message."""
    return [Event(message["epoch"], *packed) for packed in message["events"]]
