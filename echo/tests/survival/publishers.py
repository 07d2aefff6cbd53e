"""Processes that publish: ``manage.py broadcast`` fed line by line, and a flood in batches.

Run as a module, it is the flood.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import httpx

from echo.tests.live import ROOT, LiveSite

FLOOD_BATCH = 100
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
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=site.environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def publish(self, *data: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.writelines(json.dumps(one) + "\n" for one in data)
        self.process.stdin.flush()

    def finish(self) -> str:
        """Waits until all is published; what the command said."""
        _, said = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, said
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.finish()


def race(site: LiveSite, data: Iterable[list[Any]], topics: Iterable[str]) -> None:
    """Publishes each list in a process of its own, all at the same time."""
    publishers = []
    for part, topic in zip(data, topics, strict=True):
        publishers.append(Publisher(site, topic))
        publishers[-1].publish(*part)
    for publisher in publishers:
        publisher.finish()


async def publish_over_http(site: LiveSite, data: Any) -> None:
    """Has the node itself publish; it may die of that."""
    token = await asyncio.to_thread(site.manage, "shell", "-v0", "-c", MAKE_TOKEN)
    headers = {"Authorization": f"Bearer {token.strip()}"}
    event = {"topic": "news", "data": data}
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        response = await client.post("/feed/publish", headers=headers, json=event)
        response.raise_for_status()


def flood(site: LiveSite, first: int, count: int, size: int) -> None:
    """Publishes ``[number, padding]`` for so many numbers, in batches."""
    numbers = (str(first), str(count), str(size))
    subprocess.run(
        [sys.executable, "-m", "echo.tests.survival.publishers", *numbers],
        cwd=ROOT,
        env=site.environment,
        check=True,
    )


def main(arguments: list[str]) -> None:
    import django

    django.setup()
    from echo.feed import publish_many

    parser = argparse.ArgumentParser(prog=Path(__file__).name)
    for name in ("first", "count", "size"):
        parser.add_argument(name, type=int)
    options = parser.parse_args(arguments)
    padding = "x" * options.size
    end = options.first + options.count
    for begin in range(options.first, end, FLOOD_BATCH):
        publish_many(
            {"topic": "news", "data": f"{number} {padding}"}
            for number in range(begin, min(end, begin + FLOOD_BATCH))
        )


if __name__ == "__main__":
    os.chdir(ROOT)
    main(sys.argv[1:])
