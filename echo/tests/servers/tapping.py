"""An application whose connections say what there is of a tap in the server's objects.

The messages "tap" and "stop" begin and end a tap; any other is answered with what the tap has
reported so far. Each answer says what is not as in a connection that was never tapped.
"""

import json
from typing import Any

import wsdemo.asgi  # noqa: F401 (makes uvicorn faithful)
from echo.protocol import TAP_EXTENSION, WRITE_EXTENSION


def replaced(protocol: Any) -> list[str]:
    """Return what a tap replaces, of this connection."""
    own = vars(protocol)
    names = [name for name in ("data_received", "dataReceived") if name in own]
    if type(own["transport"]).__name__ == "TappedTransport":
        names.append("transport")
    return names


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    extensions = scope["extensions"]
    protocol = extensions[WRITE_EXTENSION].__self__
    reports: list[tuple[str, bytes]] = []
    stop = None

    def sink(sender: str, data: bytes, at: float) -> None:
        reports.append((sender, data))

    await receive()
    if b"early" in scope["query_string"]:
        stop = extensions[TAP_EXTENSION](sink)
    await send({"type": "websocket.accept", "headers": [(b"Set-Cookie", b"secret=1")]})
    while (event := await receive())["type"] == "websocket.receive":
        if event["text"] == "tap":
            stop = extensions[TAP_EXTENSION](sink)
        elif event["text"] == "stop" and stop is not None:
            stop()
            stop()
        shown = {
            "offered": TAP_EXTENSION in extensions,
            "replaced": replaced(protocol),
            "reports": [(sender, data.decode("latin-1")) for sender, data in reports],
        }
        await send({"type": "websocket.send", "text": json.dumps(shown)})
