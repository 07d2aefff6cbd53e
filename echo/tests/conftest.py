"""Fixtures for every test: the site as real processes."""

from collections.abc import Iterator

import pytest

from echo.tests.live import COMMANDS, LiveSite


@pytest.fixture(scope="session", params=COMMANDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """The site on each server in turn, one process for the whole session."""
    with LiveSite(request.param, tmp_path_factory.mktemp(request.param)) as live:
        yield live
