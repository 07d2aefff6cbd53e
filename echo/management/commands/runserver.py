"""``manage.py runserver``: Daphne's development server with the faithful WebSocket."""

import os
import signal
import socket
from types import FrameType
from typing import Any

from daphne.management.commands.runserver import Command as DaphneRunserver
from django.core.management.base import CommandError
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV

from echo.servers import FaithfulServer

# Longer than a shutdown takes.
CHILD_SECONDS = 5.0


class Command(DaphneRunserver):
    server_cls = FaithfulServer

    def run(self, **options: Any) -> None:
        """Refuse a port that is taken; Daphne would log it, and the autoreloader wait."""
        family = socket.AF_INET6 if self.use_ipv6 else socket.AF_INET
        try:
            socket.create_server((self.addr, int(self.port)), family=family).close()
        except OSError as error:
            raise CommandError(
                f"cannot listen on {self.addr} port {self.port}: {error.strerror}. Name "
                "another port: `manage.py runserver 8001`, or `make run PORT=8001`"
            ) from None
        is_child = os.environ.get(DJANGO_AUTORELOAD_ENV) == "true"
        is_reloader = options["use_reloader"] and not is_child
        if is_reloader and hasattr(signal, "setitimer"):  # Windows has none
            wait_for_child_after_ctrl_c()
        super().run(**options)


def wait_for_child_after_ctrl_c() -> None:
    """Give the autoreloader's child the time to close its connections.

    Ctrl-C reaches both processes; `subprocess.run` would kill the child 0.25 s later.
    """

    def wait_for_child(number: int, frame: FrameType | None) -> None:
        # Another Ctrl-C, or the end of the time, raises KeyboardInterrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, CHILD_SECONDS)

    signal.signal(signal.SIGINT, wait_for_child)
