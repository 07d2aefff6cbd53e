"""``manage.py runserver``: Daphne's development server, with a faithful WebSocket."""

from daphne.management.commands.runserver import Command as DaphneRunserver

from echo.servers import FaithfulServer


class Command(DaphneRunserver):
    server_cls = FaithfulServer
