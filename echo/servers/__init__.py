"""Makes both servers faithful: messages and closes go over the wire as they were sent.

Daphne (``manage.py runserver``) gets a WebSocket protocol built on the sans-I/O core of
``websockets``, which uvicorn uses too: one set of rules under both servers. Daphne's own
protocol, on Autobahn, drops empty messages, close codes and reasons, resets the connection
on errors, refuses with 403 only, and buffers without bound for a client that does not read
(daphne #170). docs/deploy.md lists the remaining differences.
"""

from echo.servers.daphne import DaphneCommand, FaithfulServer
from echo.servers.uvicorn import make_uvicorn_faithful

__all__ = ["DaphneCommand", "FaithfulServer", "make_uvicorn_faithful"]
