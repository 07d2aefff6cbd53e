"""Connections of a test to the site, all closed when it ends."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from echo.tests.live import LiveSite
from echo.tests.servers.frames import Connection

Connect = Callable[..., Connection]


@pytest.fixture(scope="session")
def quiet_site(site: LiveSite) -> Iterator[LiveSite]:
    """The site; at the end of all tests, no exception has gone to its log."""
    yield site
    assert "Traceback" not in site.log, site.log
    assert "ERROR" not in site.log, site.log


@pytest.fixture
def connect(quiet_site: LiveSite) -> Iterator[Connect]:
    """Opens a connection: ``connect("/echo?delay=1s", Origin="…")``."""
    with ExitStack() as connections:
        yield lambda target="/echo", **headers: connections.enter_context(
            Connection(quiet_site.port, target, tls=quiet_site.tls, **headers)
        )
