"""The site on one server, for what does not depend on which."""

from collections.abc import Iterator

import pytest

from echo.tests.live import LiveSite


@pytest.fixture(scope="session")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with LiveSite("uvicorn", tmp_path_factory.mktemp("client")) as live:
        yield live
