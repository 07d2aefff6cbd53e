"""An echo and a hub on uWebSockets, through socketify; runs in var/bench-venv.

``publish`` corks: uWebSockets writes what one subscriber is due in one system call.
"""

import sys

from socketify import App


def echo(ws, message, opcode):
    ws.send(message, opcode)


def join(ws):
    ws.subscribe("everybody")


app = App()
app.ws("/echo", {"message": echo})
app.ws(
    "/publish",
    {"message": lambda ws, message, opcode: app.publish("everybody", message, opcode)},
)
app.ws("/", {"open": join, "message": lambda ws, message, opcode: None})
app.listen(int(sys.argv[1]))
app.run()
