"""Surveys: asks a question of all nodes, this one included, and merges their answers.

A question travels by its class's name and its fields, an answer as plain JSON values.
``answer`` runs on every node, ``merge`` on the node that asks.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from echo.feed import processes
from echo.feed.cluster.channel import Channel
from echo.feed.cluster.presence import Presence
from echo.feed.doorbell import Message
from echo.feed.hub import Hub

logger = logging.getLogger("echo.feed")

# A node that takes longer is unresponsive.
ANSWER_SECONDS = 0.75

Answer = TypeVar("Answer")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Question(Generic[Answer, Result]):
    """The base of all questions. ``Answer`` is one node's, ``Result`` that of all."""

    # All questions, by the names under which they travel.
    kinds: ClassVar[dict[str, type["Question[Any, Any]"]]] = {}

    # No super(): slots=True makes a second class, to which super() here does not belong.
    def __init_subclass__(cls) -> None:
        Question.kinds[cls.__name__] = cls

    def packed(self) -> Message:
        """Return the question as it travels over the channel layer."""
        return {"kind": type(self).__name__, "fields": asdict(self)}

    @staticmethod
    def unpack(message: Message) -> "Question[Any, Any]":
        """Return the question of a message. Raises KeyError for an unknown kind."""
        return Question.kinds[message["kind"]].of(message["fields"])

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """Return the question with these fields, which have travelled as JSON."""
        return cls(**fields)

    async def answer(self, hub: Hub) -> Answer:
        """Return what this node knows, or has done."""
        raise NotImplementedError

    def pack_answer(self, answer: Answer) -> Any:
        """Return an answer as it travels: a dataclass as a dict."""
        return asdict(answer) if is_dataclass(answer) else answer  # type: ignore[arg-type]

    def unpack_answer(self, packed: Any) -> Answer:
        """Return another node's answer as `pack_answer` had it."""
        answer: Answer = packed
        return answer

    def merge(self, answers: Collection[Answer]) -> Result:
        """Return one result of all nodes' answers."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Survey(Generic[Result]):
    """The merged result of a question, and which nodes it is of."""

    result: Result
    # The names of the nodes that have answered.
    nodes: list[str]
    # Of those that are alive and have not answered in time.
    unresponsive: list[str]
    # True when the channel layer is down, so that no other node was asked.
    is_degraded: bool = False
    # True when other processes may serve, whom no channel layer reaches.
    is_isolated: bool = False


class Surveys:
    """Asks this process's questions, and answers those of the other nodes."""

    def __init__(
        self,
        hub: Hub,
        channel: Channel,
        presence: Presence,
        clock: Callable[[], float],
    ) -> None:
        # This node's own answers come from here.
        self.hub = hub
        # Carries questions and answers.
        self.channel = channel
        # The nodes that are expected to answer.
        self.presence = presence
        # In seconds, monotonic.
        self.clock = clock
        # The answers to each question under way, packed, by the node that gave them.
        self.open: dict[str, dict[str, Any]] = {}
        # Set when an answer has come.
        self.answered = asyncio.Event()

    async def ask(self, question: Question[Answer, Result]) -> Survey[Result]:
        """Return all nodes' answers as one result.

        Waits for every node that is alive, ANSWER_SECONDS at most.
        """
        answers = {self.hub.node_name: await question.answer(self.hub)}
        expected = {self.hub.node_name}
        if self.channel.state == "up":
            packed, alive = await self.ask_others(question)
            expected |= alive
            for node, answer in packed.items():
                # Another version's may differ, while nodes are exchanged one by one.
                with contextlib.suppress(KeyError, TypeError, ValueError):
                    answers[node] = question.unpack_answer(answer)
        return Survey(
            question.merge(answers.values()),
            nodes=sorted(answers),
            unresponsive=sorted(expected - answers.keys()),
            is_degraded=self.channel.state == "down",
            is_isolated=self.is_isolated(),
        )

    def is_isolated(self) -> bool:
        """Return True when other processes may serve, whom no channel layer reaches."""
        return not self.channel.reaches_others and processes.others_may_serve()

    async def ask_others(
        self, question: Question[Any, Any]
    ) -> tuple[dict[str, Any], set[str]]:
        """Return the other nodes' answers, packed, and the nodes that are alive."""
        await asyncio.sleep(self.presence.settled_at - self.clock())
        identity = secrets.token_hex(8)
        answers = self.open[identity] = {}
        alive = {state.node for state in self.presence.others()}
        ask = {"type": "feed.ask", "question": identity, "node": self.hub.node_name}
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.channel.send(ask | question.packed())
                while not alive <= answers.keys():
                    self.answered.clear()
                    await self.answered.wait()
        except Exception as error:  # noqa: BLE001 -- whatever the layer's client raises
            logger.debug("not all nodes have answered: %r", error)
        finally:
            del self.open[identity]
        return answers, alive

    def receive_answer(self, message: Message) -> None:
        """Note another node's answer; no-op if its question is over, or another node's."""
        if (answers := self.open.get(message["question"])) is not None:
            answers[message["node"]] = message["answer"]
            self.answered.set()

    async def reply(self, message: Message) -> None:
        """Answer another node's question, to the group: only the asker knows its identity."""
        if message["node"] == self.hub.node_name:
            return
        question = Question.unpack(message)
        answer = await question.answer(self.hub)
        await self.channel.send(
            {
                "type": "feed.answer",
                "question": message["question"],
                "node": self.hub.node_name,
                "answer": question.pack_answer(answer),
            }
        )
