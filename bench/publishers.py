"""A publishing process of the PostgreSQL row: ``python -m bench.publishers CALLS SECONDS``.

Keeps so many calls of ``apublish`` under way for so long, from the moment a line arrives on
standard input, and prints how many events it has published.
"""

import asyncio
import os
import sys
import time

import django

TEXT = "0123456789abcdef" * 5


async def publish_until(deadline: float) -> int:
    """Publish one event after the other; return how many."""
    from echo.feed import apublish

    count = 0
    while time.monotonic() < deadline:
        await apublish("news", {"n": count, "text": TEXT})
        count += 1
    return count


async def main(calls: int, seconds: float) -> None:
    await publish_until(time.monotonic() + 0.1)  # opens the connections
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    deadline = time.monotonic() + seconds
    print(sum(await asyncio.gather(*(publish_until(deadline) for _ in range(calls)))))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsdemo.settings")
    django.setup()
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
