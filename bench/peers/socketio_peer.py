"""A hub on python-socketio under uvicorn; runs in var/bench-venv.

What comes in at /publish, a plain WebSocket, is emitted to every client of Socket.IO.
"""

import sys

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi", ping_interval=3600)


async def publish(scope, receive, send):
    """Emit each message of one client."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await sio.emit("event", message["text"])


uvicorn.run(socketio.ASGIApp(sio, publish), port=int(sys.argv[1]), log_level="warning")
