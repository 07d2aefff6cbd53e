"""A visitor's own connection, tapped: all of it goes to its viewer, and to nobody else."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from channels.layers import channel_layers
from django.core import signing

from echo.lab import tap
from echo.lab.bounds import LabError
from echo.lab.frames import CLOSE, CONT, PING, PONG, TEXT
from echo.protocol import TAP_EXTENSION, WRITE_EXTENSION
from echo.tests.live import COMMANDS, ROOT, LiveSite, SecureSite
from echo.tests.servers.frames import (
    Connection,
    Frame,
    Opcode,
    Refused,
    close,
    encode,
    text,
)
from echo.tests.survival.backends import Redis


class Viewer:
    """The viewer's socket, and the records that have come over it."""

    def __init__(self, site: LiveSite) -> None:
        self.connection = Connection(site.port, "/protocol/tap", tls=site.tls)
        self.key = json.loads(self.connection.frame().payload)["key"]
        self.records: list[dict[str, Any]] = []

    def ask(self, command: str, **fields: Any) -> None:
        message = json.dumps({"command": command, **fields})
        self.connection.send_frame(Opcode.TEXT, message.encode())

    def read(self) -> bool:
        """Take one message; return False for the close frame."""
        frame = self.connection.frame()
        if frame.opcode == Opcode.CLOSE:
            return False
        message = json.loads(frame.payload)
        assert message["type"] == "records", message
        self.records += message["records"]
        return True

    def read_until(self, is_enough: Callable[[], Any]) -> None:
        while not is_enough():
            assert self.read()

    @property
    def frames(self) -> list[tuple[str, int, str]]:
        """Each frame's sender, opcode and payload, in hexadecimal digits."""
        return [
            (record["sender"], record["frame"]["opcode"], payload_of(record["frame"]))
            for record in self.records
            if record["type"] == "frame"
        ]

    def end(self) -> dict[str, Any]:
        """Return the last record."""
        while self.read():
            pass
        return self.records[-1]


def answer_close(connection: Connection) -> Frame:
    """Read up to the server's close frame, answer and return it."""
    while (frame := connection.frame()).opcode != Opcode.CLOSE:
        pass
    connection.send_frame(Opcode.CLOSE, frame.payload)
    assert connection.rest() == []
    return frame


def payload_of(frame: Any) -> str:
    fields = {field["field"]: field["value"] for field in frame["fields"]}
    return str(fields.get("payload", ""))


class Visitor:
    """Opens viewers and tapped connections, and closes them in the end."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def view(self, site: LiveSite) -> Viewer:
        viewer = Viewer(site)
        self.stack.enter_context(viewer.connection)
        return viewer

    def open(self, site: LiveSite, key: str, **headers: Any) -> Connection:
        target = f"/protocol/ws?tap={key}"
        connection = Connection(site.port, target, tls=site.tls, **headers)
        return self.stack.enter_context(connection)


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    with ExitStack() as stack:
        yield Visitor(stack)


def tap_one_message(visitor: Visitor, near: LiveSite, far: LiveSite) -> None:
    """View on one site what is tapped on the other."""
    viewer = visitor.view(near)
    connection = visitor.open(far, viewer.key)
    connection.send_frame(Opcode.TEXT, b"hello")
    assert connection.frame() == text("hello")
    connection.send_frame(Opcode.CLOSE, close(1000).payload)
    assert connection.rest() == [close(1000)]
    assert viewer.end()["reason"] == "closed"
    assert viewer.frames == [
        ("client", TEXT, b"hello".hex()),
        ("server", TEXT, b"hello".hex()),
        ("client", CLOSE, "03e8"),
        ("server", CLOSE, "03e8"),
    ]


# --- what a viewer gets ----------------------------------------------------------------


def test_each_frame_of_both_sides_reaches_the_viewer(
    site: LiveSite, visitor: Visitor
) -> None:
    tap_one_message(visitor, site, site)


def test_the_handshake_comes_first_without_its_secrets(
    site: LiveSite, visitor: Visitor
) -> None:
    viewer = visitor.view(site)
    visitor.open(site, viewer.key, Cookie="sessionid=secret")
    viewer.read_until(lambda: len(viewer.records) >= 2)
    request, response = viewer.records
    assert (request["type"], request["sender"]) == ("head", "client")
    assert "Cookie: [redacted]" in request["head"].split("\r\n")
    assert "secret" not in request["head"]
    assert (response["type"], response["sender"]) == ("head", "server")
    assert response["head"].startswith("HTTP/1.1 101 ")
    assert 0 == request["ms"] <= response["ms"]


def test_the_server_sends_a_ping_that_the_viewer_asks_for(
    site: LiveSite, visitor: Visitor
) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    viewer.ask("ping")
    assert connection.frame() == Frame(Opcode.PING, b"ping 1")
    connection.send_frame(Opcode.PONG, b"ping 1")
    viewer.read_until(lambda: len(viewer.frames) == 2)
    payload = b"ping 1".hex()
    assert viewer.frames == [("server", PING, payload), ("client", PONG, payload)]


def test_the_server_sends_fragments_that_the_viewer_asks_for(
    site: LiveSite, visitor: Visitor
) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    viewer.ask("fragments")
    frames = [connection.frame() for _ in range(4)]
    assert [frame.opcode for frame in frames] == [TEXT, PING, CONT, CONT]
    assert [frame.fin for frame in frames] == [False, True, False, True]
    viewer.read_until(lambda: len(viewer.frames) == 4)
    assert all(not r["frame"]["errors"] for r in viewer.records if "frame" in r)


def test_the_server_s_own_close_is_seen_with_its_answer(
    site: LiveSite, visitor: Visitor
) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    viewer.ask("close", code=4000)
    assert connection.frame() == close(4000, "as you asked")
    connection.send_frame(Opcode.CLOSE, close(4000).payload)
    assert viewer.end()["reason"] == "closed"
    assert [frame[:2] for frame in viewer.frames] == [("server", 8), ("client", 8)]


@pytest.mark.parametrize(
    "nonsense", ["", "[]", "{}", '{"command":"x"}', '{"command":"close","code":1005}']
)
def test_a_command_that_is_none_is_ignored(
    site: LiveSite, visitor: Visitor, nonsense: str
) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    viewer.connection.send_frame(Opcode.TEXT, nonsense.encode())
    viewer.ask("ping")
    assert connection.frame().opcode == Opcode.PING


def test_a_long_payload_is_shortened_and_its_length_is_true(
    site: LiveSite, visitor: Visitor
) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    connection.send_frame(Opcode.BINARY, bytes(65536))
    assert connection.frame().payload == bytes(65536)
    viewer.read_until(lambda: len(viewer.frames) == 2)
    frame = viewer.records[-1]["frame"]
    assert (frame["length"], frame["size"]) == (65536, 65546)
    assert payload_of(frame) == "00" * tap.SHOWN_BYTES


# --- whose it is -----------------------------------------------------------------------


def refusal(visitor: Visitor, site: LiveSite, key: str) -> int:
    with pytest.raises(Refused) as refused:
        visitor.open(site, key)
    assert json.loads(refused.value.body)["detail"]
    return refused.value.status


def test_two_visitors_see_their_own_connection_only(
    site: LiveSite, visitor: Visitor
) -> None:
    viewers = [visitor.view(site) for _ in range(2)]
    connections = [visitor.open(site, viewer.key) for viewer in viewers]
    for number, connection in enumerate(connections):
        connection.send_frame(Opcode.TEXT, b"mine is %d" % number)
        connection.frame()
        connection.send_frame(Opcode.CLOSE, close(1000).payload)
        connection.rest()
    for number, viewer in enumerate(viewers):
        viewer.end()
        texts = {payload for _, opcode, payload in viewer.frames if opcode == TEXT}
        assert texts == {(b"mine is %d" % number).hex()}


def test_a_key_is_good_for_one_connection(site: LiveSite, visitor: Visitor) -> None:
    viewer = visitor.view(site)
    visitor.open(site, viewer.key)
    assert refusal(visitor, site, viewer.key) == 403


def test_a_key_dies_with_its_viewer(site: LiveSite, visitor: Visitor) -> None:
    viewer = visitor.view(site)
    viewer.connection.send_frame(Opcode.CLOSE, close(1000).payload)
    viewer.connection.rest()
    assert refusal(visitor, site, viewer.key) in (403, 503)


def test_a_wrong_key_is_refused(site: LiveSite, visitor: Visitor) -> None:
    assert refusal(visitor, site, "") == 400
    assert refusal(visitor, site, "a&tap=b") == 400
    assert refusal(visitor, site, "guess") == 403
    key = visitor.view(site).key
    assert refusal(visitor, site, ("a" if key[0] != "a" else "b") + key[1:]) == 403
    assert refusal(visitor, site, signing.dumps(["tap.other", "x"])) == 403


def test_a_key_is_not_good_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    key = tap.make_key("tap.inmemory!abc").encode()
    monkeypatch.setattr(tap, "mailboxes", {"tap.inmemory!abc"})
    assert tap.mailbox_of(b"tap=" + key) == "tap.inmemory!abc"
    monkeypatch.setattr(tap, "KEY_SECONDS", -1)
    with pytest.raises(LabError, match="not long ago"):
        tap.mailbox_of(b"tap=" + key)


# --- where it works --------------------------------------------------------------------


@pytest.mark.parametrize("server", COMMANDS)
def test_a_connection_over_tls_is_tapped(
    server: str, tmp_path: Path, visitor: Visitor
) -> None:
    with SecureSite(server, tmp_path) as site:
        tap_one_message(visitor, site, site)
        assert "Traceback" not in site.log, site.log


def test_the_two_sockets_may_be_on_two_nodes(
    redis: Redis, tmp_path: Path, visitor: Visitor
) -> None:
    with (
        LiveSite("daphne", tmp_path, REDIS_URL=redis.url) as one,
        LiveSite("uvicorn", tmp_path, REDIS_URL=redis.url) as other,
    ):
        tap_one_message(visitor, one, other)
        tap_one_message(visitor, other, one)
        viewer = visitor.view(one)
        visitor.open(other, viewer.key)
        assert refusal(visitor, one, viewer.key) == 403
        assert "Traceback" not in one.log + other.log


def test_without_redis_another_process_refuses_and_the_key_stays_good(
    tmp_path: Path, visitor: Visitor
) -> None:
    with (
        LiveSite("uvicorn", tmp_path) as one,
        LiveSite("uvicorn", tmp_path) as other,
    ):
        viewer = visitor.view(one)
        assert refusal(visitor, other, viewer.key) == 503
        visitor.open(one, viewer.key)


# --- bounds and ends -------------------------------------------------------------------


def test_a_tap_ends_after_so_many_bytes(site: LiveSite, visitor: Visitor) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    connection.send_frame(Opcode.BINARY, bytes(tap.MAX_BYTES))
    assert answer_close(connection) == close(1000, "the tap has ended: bytes")
    assert viewer.end()["reason"] == "bytes"


def test_a_tap_ends_after_so_many_frames(site: LiveSite, visitor: Visitor) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    # In one packet, so that the last that is read has more than the bound.
    connection.send(*(encode(Opcode.PONG) for _ in range(tap.MAX_FRAMES + 500)))
    assert answer_close(connection) == close(1000, "the tap has ended: frames")
    assert viewer.end()["reason"] == "frames"
    assert len(viewer.frames) == tap.MAX_FRAMES


def test_a_tap_ends_with_its_viewer(site: LiveSite, visitor: Visitor) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    viewer.connection.socket.close()
    assert answer_close(connection) == close(1000, "the tap has ended: viewer")


def test_a_viewer_ends_with_a_connection_that_is_cut(
    site: LiveSite, visitor: Visitor
) -> None:
    viewer = visitor.view(site)
    connection = visitor.open(site, viewer.key)
    connection.send_frame(Opcode.TEXT, b"last")
    connection.frame()
    connection.socket.close()
    assert viewer.end()["reason"] == "closed"
    assert [frame[:2] for frame in viewer.frames] == [("client", 1), ("server", 1)]


def test_a_process_has_so_many_sockets(site: LiveSite, visitor: Visitor) -> None:
    for _ in range(tap.MAX_SOCKETS):
        visitor.view(site)
    with pytest.raises(Refused) as refused:
        visitor.view(site)
    assert refused.value.status == 429


# --- in this process -------------------------------------------------------------------


class Socket:
    """An ASGI socket without a server: what is sent to it, and what it sends."""

    def __init__(self, application: Any, query: str = "") -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.has_stopped = False  # the tap
        self.sink: Any = None
        scope = {
            "client": ("127.0.0.1", 1),
            "query_string": query.encode(),
            "extensions": {TAP_EXTENSION: self.tap, WRITE_EXTENSION: lambda data: True},
        }
        self.events.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(
            application(scope, self.events.get, self.sent.put)
        )

    def tap(self, sink: Any) -> Callable[[], None]:
        self.sink = sink
        sink("client", b"GET / HTTP/1.1\r\n\r\n", 0.0)
        return self.stop

    def stop(self) -> None:
        self.has_stopped = True

    def disconnect(self) -> None:
        self.events.put_nowait({"type": "websocket.disconnect", "code": 1006})

    async def next_text(self) -> Any:
        while "text" not in (message := await self.sent.get()):
            pass
        return json.loads(message["text"])


@pytest.fixture
def nothing_stays() -> Callable[[], list[Any]]:
    layer: Any = channel_layers["default"]
    return lambda: [
        *tap.mailboxes,
        *tap.slots.by_address,
        *layer.channels,
        *(asyncio.all_tasks() - {asyncio.current_task()}),
    ]


async def open_both() -> tuple[Socket, Socket]:
    viewer = Socket(tap.view_tap)
    key = (await viewer.next_text())["key"]
    echo = Socket(tap.tapped_echo, f"tap={key}")
    assert (await echo.sent.get())["type"] == "websocket.accept"
    return viewer, echo


@pytest.mark.parametrize("first", ["viewer", "echo"])
async def test_nothing_stays_when_the_visitor_has_gone(
    first: str, nothing_stays: Callable[[], list[Any]]
) -> None:
    for _ in range(20):
        viewer, echo = await open_both()
        (viewer if first == "viewer" else echo).disconnect()
        if first == "viewer":
            while (await echo.sent.get())["type"] != "websocket.close":
                pass
            echo.sink("client", b"\x88\x80\0\0\0\0", 0.0)  # a close frame
            echo.disconnect()
        await asyncio.gather(viewer.task, echo.task)
        assert echo.has_stopped
    assert nothing_stays() == []


async def test_nothing_stays_when_the_server_stops(
    nothing_stays: Callable[[], list[Any]],
) -> None:
    viewer, echo = await open_both()
    for task in (viewer.task, echo.task):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert echo.has_stopped
    assert nothing_stays() == []


async def test_a_tap_ends_after_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "MAX_SECONDS", 0)
    monkeypatch.setattr(tap, "CLOSE_SECONDS", 0)
    viewer, echo = await open_both()
    closing = await echo.sent.get()
    assert closing["type"] == "websocket.close"
    assert closing["reason"] == "the tap has ended: time"
    records = (await viewer.next_text())["records"]
    assert records[-1]["reason"] == "time"
    await asyncio.gather(viewer.task, echo.task)


async def test_a_lost_batch_is_announced() -> None:
    async with tap.Mailbox() as mailbox:
        sent: asyncio.Queue[Any] = asyncio.Queue()
        viewer = tap.Viewer(mailbox, None, sent.put)
        for number in (0, 3):
            message = {"type": "records", "number": number, "records": f'"{number}"'}
            await tap.post(mailbox.name, message)
        await tap.post(mailbox.name, {"type": "end", "number": 4, "records": '"end"'})
        await viewer.forward()
    texts = [json.loads(sent.get_nowait()["text"]) for _ in range(sent.qsize())]
    assert texts == ["0", {"type": "lost", "batches": 2}, "3", "end"]


async def test_a_full_channel_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    layer: Any = channel_layers["default"]
    name = await layer.new_channel("tap")
    monkeypatch.setattr(tap, "mailboxes", {name})
    posts = [tap.post(name, {"type": "x", "n": n}) for n in range(layer.capacity + 5)]
    posting = asyncio.gather(*posts)
    numbers = [(await layer.receive(name))["n"] for _ in range(layer.capacity + 5)]
    assert sorted(numbers) == list(range(layer.capacity + 5))
    assert all(await posting)


# --- what the page and the code say ----------------------------------------------------


def test_the_page_names_the_bounds() -> None:
    texts = (ROOT / "templates" / "echo" / "protocol_tap_texts.html").read_text()
    assert f"it captures {tap.MAX_BYTES >> 10} KiB at most" in texts
    assert f"it captures {tap.MAX_FRAMES:,} frames at most" in texts
    assert "it lasts five minutes at most" in texts
    assert tap.MAX_SECONDS == 5 * 60


def test_beside_the_feed_two_experiments_use_the_channel_layer() -> None:
    """The tap, and the race's stock consumer."""
    users = {
        str(path.relative_to(ROOT / "echo"))
        for path in (ROOT / "echo").rglob("*.py")
        if "tests" not in path.parts and "channels.layers" in path.read_text()
    }
    feed = {"feed/doorbell.py", "feed/cluster/channel.py"}
    assert users == feed | {"lab/tap.py", "lab/race.py"}
