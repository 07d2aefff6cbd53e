"""An application that writes to its connection at once, where the server lets it.

Over WebSocket it does what each message says, and sends what ``write`` returned; over HTTP
it answers with a stream of what it wrote and of what ``write`` returned.
"""

from typing import Any

import wsdemo.asgi  # noqa: F401 (makes uvicorn faithful)
from echo.frames import TEXT, encode_frame
from echo.protocol import WRITE_EXTENSION

# More than all buffers between the two ends can hold.
MOST_WRITES = 1000
WRITTEN = encode_frame(TEXT, b"x" * 60_000)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    write = scope["extensions"][WRITE_EXTENSION]
    if scope["type"] == "http":
        return await stream(write, send)
    assert not write(WRITTEN), "nothing can be written before the handshake is complete"
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        frames = b"".join(encode_frame(TEXT, b"%d" % number) for number in range(3))
        if event["text"] == "three":
            answer = write(frames)
        elif event["text"] == "fill":
            answer = sum(1 for _ in range(MOST_WRITES) if write(WRITTEN))
        else:
            await send({"type": "websocket.close"})
            answer = write(frames)
        await send({"type": "websocket.send", "text": str(answer)})


async def stream(write: Any, send: Any) -> None:
    """Answer with parts of which some are written at once."""
    early = write(b"too early")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    part = {"type": "http.response.body", "body": f"{early} ".encode()}
    await send(part | {"more_body": True})
    for word in (b"one ", b"two "):
        assert write(word)
    await send(part | {"body": b"three", "more_body": False})
    assert not write(b"too late")
