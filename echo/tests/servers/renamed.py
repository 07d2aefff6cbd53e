"""The site with a uvicorn in which one method has been renamed."""

import os
import sys

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if not sys.argv[0].endswith("uvicorn/__main__.py"):
    del sys.modules["uvicorn.server"]  # as where another server has not imported it
WebSocketsSansIOProtocol.refuse_with_500 = (  # type: ignore[attr-defined]
    WebSocketsSansIOProtocol.send_500_response
)
del WebSocketsSansIOProtocol.send_500_response
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsdemo.settings")

from wsdemo.asgi import application  # noqa: E402, F401
