"""Connections of a test to the site, closed at the end of the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from echo.tests.live import LiveSite
from echo.tests.servers.frames import Connection

Connect = Callable[..., Connection]


@pytest.fixture(scope="session")
def quiet_site(site: LiveSite) -> Iterator[LiveSite]:
    """The site; after all tests, its log must not have an exception."""
    yield site
    assert "Traceback" not in site.log, site.log
    assert "ERROR" not in site.log, site.log


@pytest.fixture
def connect(quiet_site: LiveSite) -> Iterator[Connect]:
    """Open a connection: ``connect("/echo?delay=1s", Origin="…")``."""
    with ExitStack() as connections:
        yield lambda target="/echo", **headers: connections.enter_context(
            Connection(quiet_site.port, target, tls=quiet_site.tls, **headers)
        )
