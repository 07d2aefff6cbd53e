"""An operator's browser, for the run that measures what it costs the feed.

It has the list of connections and the page of nodes open, which are fetched every two
seconds as the pages do, and it reads the figures of the live graph.
"""

import http.client
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from bench.servers import manage

REFRESH_SECONDS = 2.0
TIMEOUT_SECONDS = 30.0
LISTS = ("/admin/echo/connection/", "/admin/echo/node/")
SIGN_IN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
user = User.objects.create_superuser("operator")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""


def sign_in() -> str:
    """Make an operator in the servers' database; return the key of a session."""
    return manage("shell", "-v0", "-c", SIGN_IN)


def watch(port: int, session: str, pipe: Connection) -> None:
    """Act as the operator's browser until a message arrives; send the latencies so far."""
    headers = {"Cookie": f"sessionid={session}", "X-Fragment": "1"}
    threading.Thread(target=read_graph, args=(port, headers), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    latencies = []
    while True:
        for path in LISTS:
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"expected 200 from {path}, got {answer.status}")
            if path == LISTS[0]:
                latencies.append(time.perf_counter() - began)
        pipe.send(latencies)
        if pipe.poll(REFRESH_SECONDS):
            return


def read_graph(port: int, headers: dict[str, str]) -> None:
    """Read the figures of the live graph."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/feed/sse?topic=staff.stats", headers=headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"expected 200 from /feed/sse, got {answer.status}")
    while answer.read1():
        pass


@contextmanager
def operator(port: int, session: str) -> Iterator[list[float]]:
    """Run an operator's browser; the list has the list's latencies once it has ended."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=watch, args=(port, session, theirs))
    process.start()
    theirs.close()
    latencies: list[float] = []
    try:
        seen = ours.recv()
        yield latencies
        ours.send("stop")
        process.join(TIMEOUT_SECONDS)
        with suppress(EOFError, ConnectionResetError):
            while True:
                seen = ours.recv()
        latencies += seen
    finally:
        process.kill()
    if process.exitcode:
        raise RuntimeError("the operator's requests failed")
