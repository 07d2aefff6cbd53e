"""What a process of settings_counted holds."""

import os
import re
import signal

from echo.tests.live import LiveSite
from echo.tests.survival.reader import eventually

COUNTED = {"DJANGO_SETTINGS_MODULE": "echo.tests.survival.settings_counted"}
SPARE_FILES = 10  # threads open database connections when they are first needed


async def counts(node: LiveSite) -> dict[str, int]:
    """Return the numbers of the process's tasks, subscriptions and open files."""
    assert node.process is not None
    told = node.log.count("holds ")
    node.process.send_signal(signal.SIGUSR1)
    await eventually(lambda: node.log.count("holds ") > told, "the process's answer")
    last = node.log.rpartition("holds ")[2].splitlines()[0]
    return {
        **{name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", last)},
        "files": len(os.listdir(f"/proc/{node.process.pid}/fd")),
    }
