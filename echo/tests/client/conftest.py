"""The site on uvicorn, for tests that do not depend on the server."""

from collections.abc import Iterator

import pytest

from echo.tests.live import LiveSite


@pytest.fixture(scope="session")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    names = {"ALLOWED_HOSTS": ".localhost,127.0.0.1,[::1],localhost.test"}
    with LiveSite("uvicorn", tmp_path_factory.mktemp("client"), **names) as live:
        yield live
