"""Odd frames and handshakes cause no invalid answer, log line, leak or crash.

``--fuzz-seconds`` runs for so long with new seeds; ``--fuzz-seed`` repeats one.
"""

import asyncio
import os
import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from echo.tests.live import COMMANDS, LiveSite, wait_until
from echo.tests.servers.frames import Opcode, encode
from echo.tests.servers.fuzz import (
    FRAMES_PER_CONNECTION,
    Wrong,
    check_answer,
    check_frames,
    cut,
    odd_frames,
    odd_handshake,
)

FRAMES = 20_000
HANDSHAKES = 5_000
CONNECTIONS_AT_ONCE = 64
# How long a server may take to end a connection whose client has ended it, when busy.
END_SECONDS = 60.0
# How long an answer to a request that may not be whole is waited for.
PATIENCE_SECONDS = 0.3
SHOWN_FAULTS = 10
# What the memory of a process may grow by after its first thousand connections.
MAX_GROWTH_BYTES = 40 * 1024 * 1024
UPGRADE = (
    "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PATHS = [
    "/echo",
    "/echo",
    "/echo",
    "/feed/ws",
    "/echo?delay=1ms",
    "/echo?close_after=3",
]
RESET = struct.pack("ii", 1, 0)

checked: list[str] = []  # the WebSockets whose frames were read to their end

Conversation = Callable[[random.Random, int], Awaitable[None]]


@pytest.fixture(params=COMMANDS)
def fuzzed_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveSite]:
    """A site for this test alone, so that its log and memory can be checked."""
    with LiveSite(request.param, tmp_path, ECHO_LOG_MESSAGES="off") as live:
        yield live


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The first seed: 1, or random with ``--fuzz-seconds``, or that of ``--fuzz-seed``."""
    if (given := request.config.getoption("--fuzz-seed")) is not None:
        return int(given)
    return random.getrandbits(32) if request.config.getoption("--fuzz-seconds") else 1


def test_no_frames_and_no_handshakes_disturb_the_site(
    fuzzed_site: LiveSite, seed: int, request: pytest.FixtureRequest
) -> None:
    seconds = float(request.config.getoption("--fuzz-seconds"))
    deadline = time.monotonic() + seconds
    asyncio.run(
        run(fuzzed_site, seed, 0, 0.05)
    )  # what is loaded at first use is loaded
    before = resources(fuzzed_site)
    rounds = 0
    checked.clear()
    while rounds == 0 or time.monotonic() < deadline:
        rounds += 1
        asyncio.run(run(fuzzed_site, seed, rounds, 1.0))
    assert len(checked) > FRAMES / FRAMES_PER_CONNECTION / 4
    quiet = wait_until(
        lambda: resources(fuzzed_site)[0] <= before[0] + 2, "connections to be over"
    )
    assert quiet
    grown = resources(fuzzed_site)[1] - before[1]
    assert grown < MAX_GROWTH_BYTES, f"{grown} bytes more, seed {seed}"
    assert fuzzed_site.get("/healthz").status_code == 200
    for word in ("Traceback", "ERROR", "CRITICAL", "never retrieved"):
        assert word not in fuzzed_site.log, f"seed {seed}\n{excerpt(fuzzed_site, word)}"


def excerpt(site: LiveSite, word: str) -> str:
    """Return the log from the first line with the word."""
    return word + site.log.partition(word)[2][:4000]


def resources(site: LiveSite) -> tuple[int, int]:
    """Return the server's number of open files, sockets included, and its memory in bytes."""
    assert site.process is not None
    process = Path(f"/proc/{site.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return len(list((process / "fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE")


async def run(site: LiveSite, seed: int, number: int, share: float) -> None:
    """Run many connections at once; a failure names the seed that repeats it."""
    connections = int(FRAMES / FRAMES_PER_CONNECTION * share)
    works: list[tuple[str, Conversation]] = [("frames", exchange_frames)] * connections
    works += [("handshake", exchange_handshake)] * int(HANDSHAKES * share)
    random.Random(seed).shuffle(works)
    queue = iter(enumerate(works))
    faults: list[str] = []

    async def worker() -> None:
        for place, (kind, converse) in queue:
            if len(faults) >= SHOWN_FAULTS:
                return
            name = f"{seed}/{number}/{place}"
            try:
                await converse(random.Random(name), site.port)
            except (Wrong, TimeoutError) as fault:
                what = fault if isinstance(fault, Wrong) else "it did not end in time"
                faults.append(f"{kind} {name}: {what}")

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS_AT_ONCE)))
    assert not faults, "\n\n".join([*faults, f"repeat with --fuzz-seed {seed}"])


# --- one conversation ------------------------------------------------------------------


async def exchange_frames(chance: random.Random, port: int) -> None:
    """Open a WebSocket, send odd frames, end it in one of four ways, and check the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(END_SECONDS):
            writer.write(UPGRADE.format(chance.choice(PATHS)).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Wrong(f"expected 101, got {head[:200]!r}")
            ending = chance.choice(["close", "close", "half-close", "cut", "reset"])
            await send_frames(chance, writer, ending)
            if ending in ("close", "half-close"):
                check_frames(await reader.read(-1))
                checked.append(ending)
            elif ending == "reset":
                reset(writer)
    except OSError:  # it has closed while we were still sending, as after a close frame
        pass
    finally:
        writer.transport.abort()


async def send_frames(
    chance: random.Random, writer: asyncio.StreamWriter, ending: str
) -> None:
    """Send one connection's frames, and then end it."""
    data = b"".join(odd_frames(chance))
    if ending == "close":
        data += encode(Opcode.CLOSE, b"\x03\xe8")
    elif ending == "cut":
        data = data[: chance.randrange(len(data))]
    for piece in cut(chance, data):
        writer.write(piece)
        await asyncio.sleep(0)
    if ending in ("close", "half-close"):
        # A frame that announces more than comes is over with the stream only.
        await writer.drain()
        writer.write_eof()


async def exchange_handshake(chance: random.Random, port: int) -> None:
    """Send an odd request, and check the answer, if any."""
    data = odd_handshake(chance, port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        with suppress(OSError):  # it has gone already
            for piece in cut(chance, data):
                writer.write(piece)
                await asyncio.sleep(0)
            if ending := chance.random() < 0.3:
                writer.write_eof()
            with suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS if ending else PATIENCE_SECONDS):
                    answer = await reader.read(65536)
        check_answer(answer)
    except Wrong as wrong:
        raise Wrong(f"{wrong}\nfor {data[:2000]!r}") from None
    finally:
        if chance.random() < 0.2:
            reset(writer)
        writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a TCP reset."""
    tcp: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
