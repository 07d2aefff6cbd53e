"""Measures the two Redis channel layers at the feed's job: one channel a node, one group.

Sender and receiver are processes of their own; Redis is the one that the tests start.
"""

import asyncio
import multiprocessing
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from channels_redis.core import RedisChannelLayer  # noqa: E402
from channels_redis.pubsub import RedisPubSubChannelLayer  # noqa: E402

from echo.tests.survival.backends import Redis  # noqa: E402

LAYERS: dict[str, Callable[..., Any]] = {
    "core": RedisChannelLayer,
    "pubsub": RedisPubSubChannelLayer,
}
GROUP = "feed"
EVENT = "x" * 200
PACED, PACED_A_SECOND = 1000, 200
BURST = 20_000
STALLED, STALL_SECONDS = 5000, 4.0
RESTART_SECONDS = 20.0
QUIET_SECONDS = 1.0


class Receiver:
    """One node's end of the layer: when each message came, and what was raised."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.arrivals: dict[str, list[float]] = defaultdict(list)
        self.finished: dict[str, float] = {}
        self.errors = 0

    async def listen(self) -> None:
        channel = await self.layer.new_channel()
        await self.layer.group_add(GROUP, channel)
        while True:
            try:
                message = await self.layer.receive(channel)
            except Exception:  # noqa: BLE001 -- what a restart raises is counted
                self.errors += 1
                await asyncio.sleep(0.1)
                continue
            phase = message["phase"]
            self.arrivals[phase].append(time.time() - message["at"])
            self.finished[phase] = time.time()
            if phase == "stalled" and len(self.arrivals[phase]) == 1:
                await asyncio.sleep(STALL_SECONDS)


async def receive(layer: Any, pipe: Connection) -> None:
    """Answers "phase?" over the pipe with what came in it."""
    receiver = Receiver(layer)
    listening = asyncio.create_task(receiver.listen())
    while phase := await asyncio.to_thread(pipe.recv):
        pipe.send(
            (receiver.arrivals[phase], receiver.finished.get(phase), receiver.errors)
        )
    listening.cancel()


def node(kind: str, url: str, pipe: Connection) -> None:
    asyncio.run(receive(LAYERS[kind](hosts=[url]), pipe))


class Bench:
    """The sender, and what it asks of the receiver."""

    def __init__(self, kind: str, redis: Redis) -> None:
        self.redis = redis
        self.layer = LAYERS[kind](hosts=[redis.url])
        self.pipe, far = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(
            target=node, args=(kind, redis.url, far)
        )
        self.process.start()

    async def send(self, phase: str) -> None:
        message = {"type": "feed.events", "phase": phase, "data": EVENT}
        await self.layer.group_send(GROUP, message | {"at": time.time()})

    async def told(self, phase: str) -> tuple[list[float], float, int]:
        """What the receiver has of a phase, once nothing more comes."""
        before = -1
        while True:
            self.pipe.send(phase)
            arrivals, finished, errors = self.pipe.recv()
            if len(arrivals) == before:
                return arrivals, finished, errors
            before = len(arrivals)
            await asyncio.sleep(QUIET_SECONDS)

    async def ready(self) -> None:
        while not (await self.told("ready"))[0]:
            await self.send("ready")

    async def paced(self) -> str:
        for _ in range(PACED):
            await self.send("paced")
            await asyncio.sleep(1 / PACED_A_SECOND)
        arrivals, _, _ = await self.told("paced")
        cuts = statistics.quantiles(arrivals, n=100)
        return (
            f"{len(arrivals)} of {PACED}, median {cuts[49] * 1000:.2f} ms, "
            f"99th percentile {cuts[98] * 1000:.2f} ms"
        )

    async def burst(self) -> str:
        begun = time.time()
        for _ in range(BURST):
            await self.send("burst")
        sent = time.time() - begun
        arrivals, finished, _ = await self.told("burst")
        return (
            f"{len(arrivals)} of {BURST}, sent at {BURST / sent:.0f}/s, "
            f"received at {len(arrivals) / (finished - begun):.0f}/s"
        )

    async def stalled(self) -> str:
        for _ in range(STALLED):
            await self.send("stalled")
        await asyncio.sleep(STALL_SECONDS)
        return f"{len((await self.told('stalled'))[0])} of {STALLED}"

    async def restart(self) -> str:
        """How long after Redis is back the first message gets through."""
        before = (await self.told("restart"))[2]
        self.redis.stop()
        await asyncio.sleep(2)
        self.redis.start()
        begun = time.time()
        while time.time() - begun < RESTART_SECONDS:
            with suppress(Exception):  # the next one may get through
                await self.send("restart")
            await asyncio.sleep(0.1)
            self.pipe.send("restart")
            arrivals, finished, errors = self.pipe.recv()
            if arrivals:
                return f"{finished - begun:.1f} s, {errors - before} exceptions raised"
        return f"nothing in {RESTART_SECONDS:g} s, {errors - before} exceptions raised"

    def close(self) -> None:
        self.pipe.send("")
        self.process.join()


async def measure(kind: str, redis: Redis) -> None:
    bench = Bench(kind, redis)
    try:
        await bench.ready()
        for phase in (bench.paced, bench.burst, bench.stalled, bench.restart):
            print(f"{kind:8} {phase.__name__:8} {await phase()}", flush=True)
    finally:
        bench.close()


def main() -> None:
    for kind in LAYERS:
        redis = Redis()
        try:
            redis.start()
            asyncio.run(measure(kind, redis))
        finally:
            redis.close()


if __name__ == "__main__":
    main()
