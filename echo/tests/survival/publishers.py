"""Processes that publish: ``manage.py broadcast`` fed line by line, and a flood in batches."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from tempfile import TemporaryFile
from typing import Any, Self

import httpx

from echo.tests.forks import Process
from echo.tests.live import PATIENCE_SECONDS, LiveSite

FINISH_SECONDS = 120.0
# In batches of a hundred.
FLOOD = """
from echo.feed import publish_many
for begin in range({first}, {end}, 100):
    publish_many(
        {{"topic": "news", "data": f"{{number}} " + "x" * {size}}}
        for number in range(begin, min({end}, begin + 100))
    )
"""
MAKE_TOKEN = """
from echo.models import Token
token = Token(name="survival")
secret = token.renew_secret()
token.save()
print(f"{token.pk}.{secret}")
"""


class Publisher:
    """A ``manage.py broadcast --json -`` that publishes whatever it is given."""

    def __init__(self, site: LiveSite, topic: str = "news") -> None:
        command = ["manage.py", "broadcast", "--json", "--topic", topic, "-"]
        theirs, ours = os.pipe()
        self.said = TemporaryFile()  # noqa: SIM115 -- until it has finished
        self.process = Process(
            [sys.executable, *command],
            env=site.environment,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=self.said,
        )
        os.close(theirs)
        self.stdin = os.fdopen(ours, "w")

    def publish(self, *data: Any) -> None:
        self.stdin.writelines(json.dumps(one) + "\n" for one in data)
        self.stdin.flush()

    def finish(self) -> str:
        """Wait until all is published, and return what the command says."""
        self.stdin.close()
        code = self.process.wait(FINISH_SECONDS)
        with self.said:
            self.said.seek(0)
            said = self.said.read().decode()
        assert code == 0, said
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.stdin.closed:
            self.finish()


def race(site: LiveSite, data: Iterable[list[Any]], topics: Iterable[str]) -> None:
    """Publish each list in a process of its own, all at the same time."""
    publishers = []
    for part, topic in zip(data, topics, strict=True):
        publishers.append(Publisher(site, topic))
        publishers[-1].publish(*part)
    for publisher in publishers:
        publisher.finish()


async def publish_over_http(site: LiveSite, data: Any) -> None:
    """Publish over HTTP, on the node itself."""
    token = await asyncio.to_thread(site.manage, "shell", "-v0", "-c", MAKE_TOKEN)
    headers = {"Authorization": f"Bearer {token.strip()}"}
    event = {"topic": "news", "data": data}
    async with httpx.AsyncClient(
        base_url=site.url, timeout=PATIENCE_SECONDS, trust_env=False
    ) as client:
        response = await client.post("/feed/publish", headers=headers, json=event)
        response.raise_for_status()


def flood(site: LiveSite, first: int, count: int, size: int) -> None:
    """Publish ``"number padding"`` for so many numbers, in a process of its own."""
    code = FLOOD.format(first=first, end=first + count, size=size)
    site.manage("shell", "-v0", "-c", code)
