"""Measures the two Redis channel layers as the feed uses them: one channel a node, one group.

    python -m bench.layers --only pubsub

Sender and receiver are two processes; Redis is started as in the tests.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from echo.tests.survival.backends import Redis

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
    """The receiving node: the latency of each message, and the number of errors."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.arrivals: dict[str, list[float]] = defaultdict(list)  # latencies, by phase
        self.finished: dict[str, float] = {}  # the last message's time, by phase
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
    """Listen, and answer each phase's name on the pipe with its figures."""
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
    """The sender, which starts the receiver and reads its figures."""

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

    async def settled(self, phase: str) -> tuple[list[float], float, int]:
        """Return the receiver's figures of a phase, once no more messages arrive."""
        before = -1
        while True:
            self.pipe.send(phase)
            arrivals, finished, errors = self.pipe.recv()
            if len(arrivals) == before:
                return arrivals, finished, errors
            before = len(arrivals)
            await asyncio.sleep(QUIET_SECONDS)

    async def ready(self) -> None:
        while not (await self.settled("ready"))[0]:
            await self.send("ready")

    async def paced(self) -> str:
        for _ in range(PACED):
            await self.send("paced")
            await asyncio.sleep(1 / PACED_A_SECOND)
        arrivals, _, _ = await self.settled("paced")
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
        arrivals, finished, _ = await self.settled("burst")
        return (
            f"{len(arrivals)} of {BURST}, sent at {BURST / sent:.0f}/s, "
            f"received at {len(arrivals) / (finished - begun):.0f}/s"
        )

    async def stalled(self) -> str:
        for _ in range(STALLED):
            await self.send("stalled")
        await asyncio.sleep(STALL_SECONDS)
        return f"{len((await self.settled('stalled'))[0])} of {STALLED}"

    async def restart(self) -> str:
        """Measure the time from a restart of Redis to the first message."""
        before = (await self.settled("restart"))[2]
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


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.layers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--only", choices=LAYERS, help="measure this layer (default: both)"
    )
    only = parser.parse_args(arguments).only
    for kind in [only] if only else LAYERS:
        redis = Redis()
        try:
            redis.start()
            asyncio.run(measure(kind, redis))
        finally:
            redis.close()


if __name__ == "__main__":
    main(sys.argv[1:])
