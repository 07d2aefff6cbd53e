"""The site's settings in a process that tells what it holds, whenever it gets SIGUSR1."""

import asyncio
import gc
import os
import signal
from types import FrameType

from wsdemo.settings import *  # noqa: F403


def tell(number: int, frame: FrameType | None) -> None:
    """Print the tasks of this event loop, and the subscriptions and events in memory."""
    gc.collect()
    kinds = [type(thing).__qualname__ for thing in gc.get_objects()]
    subscriptions = kinds.count("Subscription")
    tasks = len(asyncio.all_tasks())
    # Not by print: the signal may come while the process is printing.
    os.write(2, f"holds {tasks=} {subscriptions=}\n".encode())


signal.signal(signal.SIGUSR1, tell)
