"""``manage.py runserver``: Daphne's development server with the faithful WebSocket."""

import socket
from typing import Any

from daphne.management.commands.runserver import Command as DaphneRunserver
from django.core.management.base import CommandError

from echo.servers import FaithfulServer


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
        super().run(**options)
