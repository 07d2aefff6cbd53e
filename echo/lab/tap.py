"""A visitor's own WebSocket, tapped: an echo, and a viewer that gets each of its frames.

The page opens two WebSockets: the viewer, whose first message is a key, and with that key the
echo, which is tapped. A key is good for one tap, and only its viewer sees that tap. Behind a
proxy the two may be on different nodes, so their messages go over the channel layer; it may
lose some, so the batches are numbered, and the viewer announces a gap.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.conf import settings
from django.core import signing

from echo.feed import reaches_others
from echo.handshake import refuse
from echo.lab.bounds import LabError, Slots, address_of
from echo.lab.frames import CONT, PING, TEXT, FrameReader, FrameSpec, encode
from echo.protocol import TAP_EXTENSION, WRITE_EXTENSION, is_sendable_close_code

# The bounds of one tap.
MAX_BYTES = 512 * 1024
MAX_FRAMES = 1000
MAX_SECONDS = 300.0
# The most sockets of this kind in a process, and of one address: a page has two.
MAX_SOCKETS = 100
MAX_SOCKETS_PER_ADDRESS = 20
# How much of a payload the viewer gets.
SHOWN_BYTES = 256
# Within this time a key has to be used.
KEY_SECONDS = 300
KEY_SALT = "echo.lab.tap"
# How long a viewer may take to answer, and the channel layer to take a message.
ANSWER_SECONDS = 5.0
SEND_SECONDS = 5.0
# How long to wait while a channel is full.
FULL_SECONDS = 0.02
# What is captured within this time goes in one message, and at most so many records.
BATCH_SECONDS = 0.02
MAX_BATCH_RECORDS = 50
# Messages that wait in a mailbox; those beyond are lost, and announced.
MAX_WAITING = 200
# How long the other side of a close may take.
CLOSE_SECONDS = 5.0
# The code of a disconnect event without a close frame (RFC 6455 section 7.4.1).
ABNORMAL_CLOSURE = 1006
MAX_COMMAND_BYTES = 1024
# What the server's fragmented message says; a ping goes between the first two.
FRAGMENTS = (b"One message, ", "in three 片".encode(), b" fragments.")

Message = dict[str, Any]

slots = Slots(MAX_SOCKETS, MAX_SOCKETS_PER_ADDRESS)
# The mailboxes that are open in this process: a layer in memory reaches no others, and keeps
# what is sent to one that has gone.
mailboxes: set[str] = set()


# --- between the two sockets -----------------------------------------------------------


class Mailbox:
    """A channel of the channel layer, and the messages that have arrived on it."""

    def __init__(self) -> None:
        self.layer = get_channel_layer()  # the site's
        self.name = ""  # of the channel, once it is open
        # Received and not read yet.
        self.messages: asyncio.Queue[Message] = asyncio.Queue(MAX_WAITING)
        self.listening: asyncio.Task[None] | None = None  # fills `messages`

    async def __aenter__(self) -> "Mailbox":
        try:
            async with asyncio.timeout(SEND_SECONDS):
                self.name = await self.layer.new_channel("tap")
        except Exception as error:
            raise LabError(
                "the channel layer is down: try again a little later", 503
            ) from error
        mailboxes.add(self.name)
        self.listening = asyncio.create_task(self.listen(), name="tap mailbox")
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self.listening is not None
        mailboxes.discard(self.name)
        # The task gives up the channel once it has begun, and has taken what is there.
        await asyncio.sleep(0)
        self.listening.cancel()
        await asyncio.gather(self.listening, return_exceptions=True)

    async def listen(self) -> None:
        """Take messages from the layer; the layer gives the channel up on cancellation."""
        while True:
            message = await self.layer.receive(self.name)
            with contextlib.suppress(asyncio.QueueFull):
                self.messages.put_nowait(message)


def can_reach(channel: str) -> bool:
    """Return False if the mailbox is not in this process, and the layer reaches no other."""
    return channel in mailboxes or reaches_others(get_channel_layer())


async def post(channel: str, message: Message) -> bool:
    """Send a message to a mailbox; return False if the layer has not taken it in time."""
    layer = get_channel_layer()
    if not can_reach(channel):
        return False
    try:
        async with asyncio.timeout(SEND_SECONDS):
            while True:
                try:
                    await layer.send(channel, message)
                except ChannelFull:
                    await asyncio.sleep(FULL_SECONDS)
                else:
                    return True
    except Exception:  # noqa: BLE001 -- whatever the layer's client raises
        return False


async def first_of(*tasks: asyncio.Task[Any], seconds: float) -> bool:
    """Wait until one of the tasks has ended; return False if none has in time."""
    ended, _ = await asyncio.wait(
        tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
    )
    return bool(ended)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- the viewer ------------------------------------------------------------------------


async def view_tap(scope: Any, receive: Any, send: Any) -> None:
    """Serve a viewer: the ASGI application of ``/protocol/tap``."""
    await receive()  # websocket.connect
    try:
        with slots.slot(address_of(scope)):
            async with Mailbox() as mailbox:
                await Viewer(mailbox, receive, send).run()
    except LabError as error:
        await refuse(send, error.status, str(error))


class Viewer:
    """The socket that gets what a tapped connection carries, and asks it for frames."""

    def __init__(self, mailbox: Mailbox, receive: Any, send: Any) -> None:
        self.mailbox = mailbox  # where the tapped connection sends to
        self.receive = receive  # of the socket
        self.send = send
        self.tapped: str | None = (
            None  # the tapped connection's mailbox, from its opening on
        )
        self.expected = 0  # the number of the next batch

    async def run(self) -> None:
        """Give the page its key, and pass batches and commands on until either end goes."""
        await self.send({"type": "websocket.accept"})
        key = make_key(self.mailbox.name)
        await self.tell(type="key", key=key, seconds=MAX_SECONDS)
        forwarding = asyncio.create_task(self.forward(), name="tap viewer")
        commands = asyncio.create_task(self.pass_commands(), name="tap commands")
        try:
            # A tap begins within the life of the key, and ends by itself.
            life = KEY_SECONDS + MAX_SECONDS + CLOSE_SECONDS + SEND_SECONDS
            await first_of(forwarding, commands, seconds=life)
        finally:
            await cancel(forwarding, commands)
            if self.tapped is not None:
                await post(self.tapped, {"type": "stop"})
        if not commands.done() or commands.cancelled():  # the page is still there
            await self.send({"type": "websocket.close", "code": 1000})

    async def tell(self, **message: Any) -> None:
        await self.send({"type": "websocket.send", "text": json.dumps(message)})

    async def forward(self) -> None:
        """Send the page what the tapped connection reports, until the tap has ended."""
        while True:
            message = await self.mailbox.messages.get()
            if message["type"] == "open":
                await self.answer(message["mailbox"])
                continue
            lost = message["number"] - self.expected
            self.expected = max(self.expected, message["number"] + 1)
            if lost > 0:
                await self.tell(type="lost", batches=lost)
            await self.send({"type": "websocket.send", "text": message["records"]})
            if message["type"] == "end":
                return

    async def answer(self, mailbox: str) -> None:
        """Grant the first connection with this viewer's key, and no other."""
        granted = self.tapped is None
        if granted:
            self.tapped = mailbox
        await post(mailbox, {"type": "answer", "granted": granted})

    async def pass_commands(self) -> None:
        """Pass the page's commands on to the tapped connection, until the page goes."""
        while (event := await self.receive())["type"] == "websocket.receive":
            command = read_command(event.get("text") or "")
            if command is not None and self.tapped is not None:
                await post(self.tapped, {"type": "command", **command})


def read_command(text: str) -> Message | None:
    """Return a command of the page; None for anything else, which is ignored."""
    if len(text) > MAX_COMMAND_BYTES:
        return None
    try:
        given = json.loads(text)
        name, code = given["command"], given.get("code", 1000)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if name not in ("ping", "fragments", "close") or type(code) is not int:
        return None
    return {"command": name, "code": code} if is_sendable_close_code(code) else None


def make_key(mailbox: str) -> str:
    """Return a key, which any node can verify, for one tap that this viewer sees."""
    return signing.dumps([mailbox, secrets.token_urlsafe(12)], salt=KEY_SALT)


def mailbox_of(query_string: bytes) -> str:
    """Return the viewer's mailbox, which the key in a query string names. Raises LabError."""
    keys = parse_qs(query_string.decode("latin-1")).get("tap", [])
    if len(keys) != 1:
        raise LabError("expected one parameter tap, the key that the viewer got", 400)
    try:
        mailbox, _ = signing.loads(keys[0], salt=KEY_SALT, max_age=KEY_SECONDS)
    except signing.BadSignature:
        raise LabError(
            "expected a key that a viewer got, and not long ago: open a viewer first",
            403,
        ) from None
    if not can_reach(mailbox):
        raise LabError(
            "the key's viewer is not in this process, and there is no Redis to reach it: "
            "try again, or open a new viewer",
            503,
        )
    return str(mailbox)


# --- the tapped connection -------------------------------------------------------------


async def tapped_echo(scope: Any, receive: Any, send: Any) -> None:
    """Serve a tapped echo: the ASGI application of ``/protocol/ws``."""
    await receive()  # websocket.connect
    try:
        tap = scope.get("extensions", {}).get(TAP_EXTENSION)
        if tap is None:
            raise LabError(
                "expected a server that can tap a connection: see README", 503
            )
        viewer = mailbox_of(scope["query_string"])
        with slots.slot(address_of(scope)):
            async with Mailbox() as mailbox:
                await be_granted(viewer, mailbox)
                write = scope["extensions"][WRITE_EXTENSION]
                await TappedEcho(viewer, mailbox, receive, send, write).run(tap)
    except LabError as error:
        await refuse(send, error.status, str(error))


async def be_granted(viewer: str, mailbox: Mailbox) -> None:
    """Have the viewer accept this connection. Raises LabError unless it does."""
    await post(viewer, {"type": "open", "mailbox": mailbox.name})
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            granted = (await mailbox.messages.get())["granted"]
    except TimeoutError:
        raise LabError("the key's viewer has gone: open a new one", 403) from None
    if not granted:
        raise LabError("this key has been used: open a new viewer", 403)


class Recorder:
    """Reads a connection's bytes into heads and frames, until there are too many."""

    def __init__(self) -> None:
        self.began_at: float | None = None  # when the first bytes came
        self.bytes = 0  # so far, both ways
        self.frames = 0
        self.records: list[Message] = []  # that have not been taken
        self.changed = asyncio.Event()  # set while there are records
        self.bound = ""  # "bytes" or "frames", the one that is reached
        self.is_full = asyncio.Event()  # set when one is
        self.is_closed = (
            asyncio.Event()
        )  # set when the client's close has been recorded
        self.heads_seen: set[str] = set()  # by sender
        cap = settings.ECHO_MAX_MESSAGE_BYTES
        self.readers = {
            "client": FrameReader("client", cap, SHOWN_BYTES),
            "server": FrameReader("server", None, SHOWN_BYTES),
        }

    def record(self, sender: str, data: bytes, at: float) -> None:
        """Take bytes of the connection: a TapSink."""
        if self.bound:
            return
        if self.began_at is None:
            self.began_at = at
        common = {"sender": sender, "ms": round(1000 * (at - self.began_at), 3)}
        self.bytes += len(data)
        if sender not in self.heads_seen:
            self.heads_seen.add(sender)
            head = data.decode("latin-1")
            self.records.append({"type": "head", **common, "head": head})
        else:
            for frame in self.readers[sender].feed(data, MAX_FRAMES - self.frames):
                self.frames += 1
                self.records.append({"type": "frame", **common, "frame": frame})
        if self.records:
            self.changed.set()
        if self.readers["client"].end is not None:
            self.is_closed.set()
        if self.bytes > MAX_BYTES or self.frames >= MAX_FRAMES:
            self.bound = "bytes" if self.bytes > MAX_BYTES else "frames"
            self.is_full.set()

    def take(self) -> list[Message]:
        """Return the next records, a batch of them at most."""
        taken = self.records[:MAX_BATCH_RECORDS]
        del self.records[:MAX_BATCH_RECORDS]
        if not self.records:
            self.changed.clear()
        return taken


class TappedEcho:
    """An echo whose bytes go to its viewer, and which sends frames that the viewer asks for."""

    def __init__(
        self,
        viewer: str,
        mailbox: Mailbox,
        receive: Any,
        send: Any,
        write: Callable[[bytes], bool],
    ) -> None:
        self.viewer = viewer  # the mailbox that gets the records
        self.mailbox = mailbox  # where the viewer sends to
        self.receive = receive  # of the socket
        self.send = send
        self.write = write  # whole frames, past the core: see WRITE_EXTENSION
        self.recorder = Recorder()
        self.batches = 0  # sent so far
        self.pings = 0  # sent so far
        self.has_ended = False  # the socket, by either side

    async def run(self, tap: Any) -> None:
        """Echo and report until the client, the viewer or a bound ends it."""
        stop = tap(self.recorder.record)
        reporting = asyncio.create_task(self.report(), name="tap report")
        try:
            await self.send({"type": "websocket.accept"})
            reason = await self.serve()
            if not self.has_ended:
                await self.close(1000, f"the tap has ended: {reason}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.recorder.is_closed.wait()
        finally:
            stop()
            await cancel(reporting)
        await self.finish(reason)

    async def serve(self) -> str:
        """Run the echo and the viewer's commands; return why the tap ends."""
        echo = asyncio.create_task(self.echo(), name="tapped echo")
        commands = asyncio.create_task(self.obey(), name="tapped commands")
        full = asyncio.create_task(self.recorder.is_full.wait(), name="tap bound")
        try:
            in_time = await first_of(echo, commands, full, seconds=MAX_SECONDS)
            if full.done():
                return self.recorder.bound
            if commands.done():
                return "viewer"
            return "closed" if in_time else "time"
        finally:
            await cancel(echo, commands, full)

    async def echo(self) -> None:
        """Send each message back, as ``/echo`` does."""
        while (event := await self.receive())["type"] == "websocket.receive":
            text = event.get("text")
            key, payload = ("bytes", event["bytes"]) if text is None else ("text", text)
            await self.send({"type": "websocket.send", key: payload})
        self.has_ended = True
        if event["code"] == ABNORMAL_CLOSURE:  # no close frame will come
            self.recorder.is_closed.set()

    async def obey(self) -> None:
        """Do what the viewer asks for; return when it has gone."""
        while (message := await self.mailbox.messages.get())["type"] == "command":
            command = message["command"]
            if command == "ping":
                self.pings += 1
                self.write(encode(FrameSpec(PING, b"ping %d" % self.pings)))
            elif command == "fragments":
                self.write(fragmented_message())
            else:
                await self.close(message["code"], "as you asked")

    async def close(self, code: int, reason: str) -> None:
        self.has_ended = True
        await self.send({"type": "websocket.close", "code": code, "reason": reason})

    async def report(self) -> None:
        """Send the records to the viewer as they come, a few at once."""
        while True:
            await self.recorder.changed.wait()
            await asyncio.sleep(BATCH_SECONDS)
            while records := self.recorder.take():
                await self.send_batch("records", records)

    async def finish(self, reason: str) -> None:
        """Send what has not been sent, and why the tap has ended."""
        while len(self.recorder.records) > MAX_BATCH_RECORDS:
            await self.send_batch("records", self.recorder.take())
        end = {"type": "end", "reason": reason, "bytes": self.recorder.bytes}
        await self.send_batch("end", [*self.recorder.take(), end])

    async def send_batch(self, kind: str, records: list[Message]) -> None:
        number, self.batches = self.batches, self.batches + 1
        text = json.dumps({"type": "records", "records": records})
        await post(self.viewer, {"type": kind, "number": number, "records": text})


def fragmented_message() -> bytes:
    """Return a text in three frames, and a ping between them (RFC 6455 section 5.4)."""
    first, second, third = FRAGMENTS
    return b"".join(
        map(
            encode,
            (
                FrameSpec(TEXT, first, fin=False),
                FrameSpec(PING, b"between fragments"),
                FrameSpec(CONT, second, fin=False),
                FrameSpec(CONT, third),
            ),
        )
    )
