"""An echo and a hub on picows, a WebSocket in Cython, and uvloop; runs in var/bench-venv."""

import sys

import uvloop
from picows import WSListener, WSMsgType, WSTransport, ws_create_server

readers: set[WSTransport] = set()


class Echo(WSListener):
    """Sends back what it receives."""

    def on_ws_frame(self, transport, frame):
        if frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY):
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


class Publisher(WSListener):
    """Sends to all readers."""

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            for reader in readers:
                reader.send(WSMsgType.TEXT, payload)


class Reader(WSListener):
    """Gets what is published."""

    def on_ws_connected(self, transport):
        readers.add(transport)

    def on_ws_disconnected(self, transport):
        readers.discard(transport)


LISTENERS = {b"/echo": Echo, b"/publish": Publisher}


async def serve(port):
    server = await ws_create_server(
        lambda request: LISTENERS.get(request.path, Reader)(), "127.0.0.1", port
    )
    await server.serve_forever()


uvloop.run(serve(int(sys.argv[1])))
