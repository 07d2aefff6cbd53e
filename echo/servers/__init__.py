"""Makes both servers faithful: what a WebSocket says goes over the wire as it was said.

Daphne (``manage.py runserver``) gets another WebSocket protocol, built on the sans-I/O
core of ``websockets``, which is uvicorn's core too: one set of rules under both servers.
Daphne's own, on Autobahn, swallows empty messages, close codes and reasons, resets the
connection on errors, refuses with 403 only, and buffers without bound for a client that
does not read (daphne #170). What remains different is listed in docs/deploy.md.
"""

from echo.servers.daphne import DaphneCommand, FaithfulServer
from echo.servers.uvicorn import make_uvicorn_faithful

__all__ = ["DaphneCommand", "FaithfulServer", "make_uvicorn_faithful"]
