"""Serves an ASGI application of a test's own, on each server and HTTP parser."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echo.tests.live import LiveSite

UVICORN = ["uvicorn", "--port", "{port}", "--lifespan", "off", "{application}"]
COMMANDS = {
    "daphne": ["echo.servers", "-p", "{port}", "{application}"],
    "uvicorn": UVICORN,
    "uvicorn with h11": [*UVICORN, "--http", "h11", "--loop", "asyncio"],
}


@contextmanager
def serve(application: str, command: str, directory: Path) -> Iterator[LiveSite]:
    """Serve ``module:name`` with one of COMMANDS; the log must have no traceback."""
    site = LiveSite(command.partition(" ")[0], directory)
    arguments = [
        part.format(port=site.port, application=application)
        for part in COMMANDS[command]
    ]
    site.command = [sys.executable, "-m", *arguments]
    with site:
        yield site
    assert "Traceback" not in site.log, site.log
