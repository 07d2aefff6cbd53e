"""The site with a short timeout for the answer to a close frame."""

import echo.servers.daphne
import echo.servers.uvicorn

CLOSE_TIMEOUT_SECONDS = 1.0
echo.servers.daphne.CLOSE_TIMEOUT_SECONDS = CLOSE_TIMEOUT_SECONDS
echo.servers.uvicorn.CLOSE_TIMEOUT_SECONDS = CLOSE_TIMEOUT_SECONDS

from wsdemo.asgi import application  # noqa: E402

__all__ = ["application"]
