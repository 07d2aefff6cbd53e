"""One client's cost in memory, and in the time of other clients, is bounded."""

import contextlib
import os
import select
import threading
from pathlib import Path

import httpx
import pytest

from echo.tests.live import PATIENCE_SECONDS, LiveSite
from echo.tests.servers.conftest import Connect
from echo.tests.servers.frames import Connection, Opcode, encode

MESSAGE_BYTES = 64 * 1024
MESSAGES = 3400  # 212 MiB
# What kernels and servers may hold; unbounded buffering passes 200 MiB.
MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024
MAX_GROWTH_BYTES = 32 * 1024 * 1024
STALLED_SECONDS = 0.5
FRAGMENTS = 400_000
# 45 bytes and more for each fragment would be 18 MB.
MAX_FRAGMENTS_GROWTH_BYTES = 6 * 1024 * 1024
SMALL_FRAMES = {
    "fragments of nothing": encode(Opcode.CONT, fin=False),
    "fragments of one byte": encode(Opcode.CONT, b"x", fin=False),
    "pongs": encode(Opcode.PONG),
    "pings": encode(Opcode.PING),
    "messages": encode(Opcode.TEXT),
}


def memory(process: int, field: str = "VmHWM") -> int:
    """Return the process's peak (VmHWM) or current (VmRSS) resident set, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def cpu_seconds(process: int) -> float:
    """Return the time that a process has computed for so far (proc(5), stat)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def forget_peak(process: int) -> None:
    """Reset the kernel's measurement of VmHWM (proc(5), clear_refs)."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def payload(number: int) -> bytes:
    return number.to_bytes(4, "big") * (MESSAGE_BYTES // 4)


def write_until_stalled(connection: Connection, data: bytes) -> int:
    """Send the data repeatedly until the server stops reading; return the bytes sent."""
    sent = 0
    connection.socket.setblocking(False)
    while select.select([], [connection.socket], [], STALLED_SECONDS)[1]:
        sent += connection.socket.send(data[sent % len(data) :])
        assert sent < MAX_IN_FLIGHT_BYTES, "the server reads on although nobody reads"
    connection.socket.settimeout(PATIENCE_SECONDS)
    return sent


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(),
    reason="memory is read from Linux's /proc",
)


@needs_proc
@pytest.mark.parametrize("target", ["/echo", "/echo?delay=1ms"])
def test_a_reader_that_does_not_read_costs_bounded_memory_and_loses_nothing(
    quiet_site: LiveSite, connect: Connect, target: str
) -> None:
    assert quiet_site.process is not None
    process = quiet_site.process.pid
    connection = connect(target)
    forget_peak(process)
    before = memory(process)
    frames = b"".join(encode(Opcode.BINARY, payload(n)) for n in range(MESSAGES))
    sent = write_until_stalled(connection, frames)
    writer = threading.Thread(target=connection.socket.sendall, args=(frames[sent:],))
    writer.start()
    for number in range(MESSAGES):
        assert connection.frame().payload == payload(number)
    writer.join()
    assert memory(process) - before < MAX_GROWTH_BYTES


def test_a_client_that_does_not_read_delays_no_other_client(connect: Connect) -> None:
    stalled, other = connect(), connect()
    write_until_stalled(stalled, encode(Opcode.BINARY, payload(1)))
    for number in range(10):
        other.send_frame(Opcode.TEXT, b"%d" % number)
        assert other.frame().payload == b"%d" % number


def test_unread_pongs_are_bounded(quiet_site: LiveSite, connect: Connect) -> None:
    assert quiet_site.process is not None
    connection = connect()
    forget_peak(quiet_site.process.pid)
    before = memory(quiet_site.process.pid)
    write_until_stalled(connection, encode(Opcode.PING, bytes(125)) * 500)
    assert memory(quiet_site.process.pid) - before < MAX_GROWTH_BYTES


@needs_proc
@pytest.mark.parametrize("fragment", [b"", b"x"])
def test_fragments_cost_no_more_memory_than_their_bytes(
    quiet_site: LiveSite, connect: Connect, fragment: bytes
) -> None:
    assert quiet_site.process is not None
    process = quiet_site.process.pid
    connection = connect()
    connection.send_frame(Opcode.BINARY, b"", fin=False)
    forget_peak(process)
    before = memory(process)
    connection.send(encode(Opcode.CONT, fragment, fin=False) * FRAGMENTS)
    connection.send_frame(Opcode.CONT)
    assert connection.frame().payload == fragment * FRAGMENTS
    assert memory(process) - before < MAX_FRAGMENTS_GROWTH_BYTES


@needs_proc
@pytest.mark.parametrize("frame", SMALL_FRAMES.values(), ids=SMALL_FRAMES)
def test_a_flood_of_small_frames_delays_no_other_client(
    quiet_site: LiveSite, connect: Connect, frame: bytes
) -> None:
    assert quiet_site.process is not None
    flooding = connect()
    if frame[0] & 0x0F == Opcode.CONT:
        flooding.send_frame(Opcode.BINARY, fin=False)
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            flooding.send(frame * 20_000)

    def read() -> None:
        with contextlib.suppress(OSError):
            while flooding.socket.recv(1 << 20):
                pass

    quiet_site.get("/healthz")  # the first answer imports the views
    threads = [threading.Thread(target=flood), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        before = cpu_seconds(quiet_site.process.pid)
        with httpx.Client() as other:
            for _ in range(5):
                assert other.get(f"{quiet_site.url}/healthz", timeout=60).is_success
        # About 0.5 s, however busy the machine is with other things; where whole packets
        # are taken at once, 10 s and more.
        assert cpu_seconds(quiet_site.process.pid) - before < 6
    finally:
        over.set()
        threads[0].join()
        flooding.socket.shutdown(2)
        threads[1].join()
