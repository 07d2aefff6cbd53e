"""An application that accepts a connection and raises at the first message."""

from typing import Any

import wsdemo.asgi  # noqa: F401 (makes uvicorn faithful)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    raise RuntimeError("failed on purpose")
