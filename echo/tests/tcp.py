"""What Linux knows of the connections to a server on this machine (proc_net_tcp)."""

from dataclasses import dataclass
from pathlib import Path

TABLE = Path("/proc/net/tcp")
LISTENING = "0A"
NO_INODE = "0"  # of a socket that is not accepted yet, or closed


@dataclass(frozen=True)
class ServerSide:
    """A server's side of one connection, which it has accepted and not closed."""

    client_port: int
    unsent: int  # bytes that the server has written and the client has not acknowledged
    unread: int  # bytes that have arrived and that the server has not read


def server_sides(port: int) -> list[ServerSide]:
    """Return the server's sides of the connections to its port."""
    sides = []
    for line in TABLE.read_text().splitlines()[1:]:
        _, local, remote, state, queues, _, _, _, _, inode, *_ = line.split()
        if port_of(local) == port and state != LISTENING and inode != NO_INODE:
            unsent, unread = (int(size, 16) for size in queues.split(":"))
            sides.append(ServerSide(port_of(remote), unsent, unread))
    return sides


def port_of(address: str) -> int:
    return int(address.partition(":")[2], 16)


def connections(port: int) -> int:
    """Return the number of connections that the server has."""
    return len(server_sides(port))


def has_connection(port: int, client_port: int) -> bool:
    """Return True while the server has the client's connection."""
    return any(side.client_port == client_port for side in server_sides(port))


def bytes_unsent(port: int, client_port: int) -> int:
    """Return the bytes that wait on the server's side of a client's connection."""
    sides = server_sides(port)
    return sum(side.unsent for side in sides if side.client_port == client_port)


def has_read_all(port: int) -> bool:
    """Return True if the server has connections, and has read all that was sent to it."""
    sides = server_sides(port)
    return bool(sides) and not any(side.unread for side in sides)
