"""The other nodes, as the channel layer lets this one hear of them.

Each process has one channel in one group, however many readers it has. A pulse tells the
others that this node lives and how far it is; that it comes back tells that the layer
carries. Who is connected where is asked and answered over the same channel.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from echo.feed import metrics, processes
from echo.feed.event import Event
from echo.feed.question import Question

if TYPE_CHECKING:
    from echo.feed.relay import Relay

logger = logging.getLogger("echo.feed")

PULSE_SECONDS = 1.0
# Three pulses that do not come back: the channel layer is down.
LAYER_SILENCE_SECONDS = 3.5
# A node that is silent for longer is left out of an answer.
ANSWER_SECONDS = 0.75
NODE_GONE_SECONDS = 5.0
# How soon those who live have answered a new node's first pulse.
ACQUAINTANCE_SECONDS = 0.3


def carries(layer: Any) -> bool:
    """False for a layer in memory: it reaches nobody outside its own process."""
    return layer is not None and not isinstance(layer, InMemoryChannelLayer)


def group(epoch: str) -> str:
    """Return the name of the group of all nodes that share a log.

    Other sites may be on the same Redis: each log has an epoch of its own.
    """
    return f"feed.{epoch}"


class Nodes:
    """One process's end of the channel layer, and the nodes it has heard of lately."""

    def __init__(self, relay: "Relay") -> None:
        self.relay = relay
        self.layer = get_channel_layer()
        self.carries = carries(self.layer)
        # The channel of this process, and the group it is in; None while it has none.
        self.channel: str | None = None
        self.joined: str | None = None
        self.moving = asyncio.Lock()
        self.heard_at = 0.0
        self.up = True
        self.known: dict[str, dict[str, Any]] = {}
        self.questions: dict[str, dict[str, Any]] = {}
        self.answered = asyncio.Event()
        self.replies: set[asyncio.Task[None]] = set()
        # Until then a node that lives may not have been heard of yet.
        self.acquainted_at = 0.0

    @property
    def state(self) -> str:
        """``none`` when this process needs no other's doorbell, else ``up`` or ``down``."""
        if not self.carries:
            return "none"
        return "up" if self.up else "down"

    @property
    def is_isolated(self) -> bool:
        """True when other processes may serve whom no channel layer reaches."""
        return not self.carries and processes.others_may_serve()

    async def listen(self) -> None:
        """One channel and one group membership for the whole process."""
        await self.until_it_takes()  # a channel made while it is down would be lost
        self.channel = channel = await self.layer.new_channel("feed")
        try:
            await self.follow()
            # Those who have not heard of this node answer with a pulse of their own.
            await self.send_pulse()
            self.acquainted_at = self.relay.loop.time() + ACQUAINTANCE_SECONDS
            while True:
                self.hear(await self.layer.receive(channel))
        finally:
            joined, self.channel, self.joined = self.joined, None, None
            with contextlib.suppress(Exception):
                async with asyncio.timeout(PULSE_SECONDS):
                    await self.layer.group_discard(joined, channel)

    @property
    def group(self) -> str:
        """The group of the log's present life."""
        return group(self.relay.head.epoch)

    async def follow(self) -> None:
        """Joins the group of the log's present life; no-op when this node is there.

        Nodes that have not seen the new life yet are told to look, and follow.
        """
        async with self.moving:
            if self.channel is None or self.joined == self.group:
                return
            before, self.joined = self.joined, None
            after = self.group
            await self.layer.group_add(after, self.channel)
            self.joined = after
            if before is not None:
                await self.layer.group_send(before, {"type": "feed.look"})
                await self.layer.group_discard(before, self.channel)

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
                self.hear_pulse(message)
            case "feed.judge":
                self.relay.rights.take(message["changed"], message["over"])
            case "feed.ask":
                self.background(self.reply(message))
            case "feed.answer":
                if (answers := self.questions.get(message["question"])) is not None:
                    answers[message["node"]] = message["answer"]
                    self.answered.set()
            case unknown:  # of a newer version, while nodes are exchanged one by one
                logger.debug("the channel layer brought an unknown %r", unknown)

    def hear_pulse(self, message: dict[str, Any]) -> None:
        """Another node lives, or this one's own pulse has come back."""
        if message["head"] != str(self.relay.head):
            self.relay.look.set()
        if "watchers" not in message:
            return  # of an older version, which tells nothing for the operators
        if message["node"] not in self.known:
            self.background(self.send_pulse())
        self.known[message["node"]] = message | {
            "heard_at": self.relay.loop.time(),
            "clock_ahead_seconds": round(message["told_at"] - time.time(), 3),
        }

    async def pulse(self) -> None:
        """Tells the other nodes of this one, and finds out whether the layer carries."""
        self.heard_at = self.relay.loop.time()
        while True:
            with contextlib.suppress(Exception):
                await self.follow()
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
            pulse = {"type": "feed.pulse", "told_at": time.time()}
            await self.layer.group_send(self.group, self.relay.stats.describe() | pulse)

    async def ask(self, question: Question) -> dict[str, Any]:
        """All nodes' answers as one, with the ``nodes`` that gave them and the ``silent``.

        Waits for every node that has been heard of lately, 0.75 s at most. ``alone`` is
        True while the channel layer is down, and others could not be asked; ``isolated``
        when it is in memory, and others may be there.
        """
        answers = {self.relay.node: await question.answer(self.relay)}
        expected = answers.keys() | set()
        if self.carries and self.up:
            expected |= await self.ask_others(question, answers)
        return question.merge(answers) | {
            "nodes": sorted(answers),
            "silent": sorted(expected - answers.keys()),
            "alone": self.state == "down",
            "isolated": self.is_isolated,
        }

    async def ask_others(self, question: Question, answers: dict[str, Any]) -> set[str]:
        """Adds the other nodes' answers as they come; the nodes that should have given one."""
        await asyncio.sleep(self.acquainted_at - self.relay.loop.time())
        identity = secrets.token_hex(8)
        self.questions[identity] = answers
        ask = {"type": "feed.ask", "question": identity, "node": self.relay.node}
        expected = set(self.known)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.layer.group_send(self.group, ask | question.packed())
                while not expected <= answers.keys():
                    self.answered.clear()
                    await self.answered.wait()
        except Exception as error:  # noqa: BLE001 -- whatever the layer's client raises
            logger.debug("the nodes were not all heard: %r", error)
        finally:
            del self.questions[identity]
        return expected

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
        await self.layer.group_send(self.group, reply)

    def background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine in a task that is kept until it is done."""
        task = asyncio.create_task(self.tried(coroutine), name="feed reply")
        self.replies.add(task)
        task.add_done_callback(self.replies.discard)

    async def tried(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Whoever asked goes without an answer, and says so."""
        try:
            await coroutine
        except Exception as error:  # noqa: BLE001 -- the layer's client's, or a newer version's
            logger.debug("no answer was given: %r", error)

    def describe(self) -> list[dict[str, Any]]:
        """This node as it is, and the others as they last told."""
        own = self.relay.stats.describe() | {"clock_ahead_seconds": 0.0}
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
        "sources": [event.source for event in events],
    }


def unpack(message: dict[str, Any]) -> list[Event]:
    """The events of such a message; an older version's has no sources."""
    packed = message["events"]
    sources = message.get("sources") or [""] * len(packed)
    return [
        Event(message["epoch"], *fields, source)
        for fields, source in zip(packed, sources, strict=True)
    ]
