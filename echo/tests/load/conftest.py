"""The load generators, and a server to put their load on."""

import shutil
from collections.abc import Iterator

import pytest

from echo.load.fallback import PythonLoad
from echo.load.generator import Load
from echo.tests.load.server import ToldServer

# What never comes is waited for so long.
SILENCE_SECONDS = 2.0


@pytest.fixture
def c_load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    if not shutil.which("cc"):
        pytest.skip("no cc: install gcc to build the load generator")
    # One directory for all tests: the program is built once.
    directory = tmp_path_factory.getbasetemp() / "load"
    with Load(directory, SILENCE_SECONDS) as load:
        yield load


@pytest.fixture(params=["C", "Python"])
def load(request: pytest.FixtureRequest) -> Iterator[Load | PythonLoad]:
    if request.param == "C":
        yield request.getfixturevalue("c_load")
    else:
        with PythonLoad(SILENCE_SECONDS) as python_load:
            yield python_load


@pytest.fixture
def server() -> Iterator[ToldServer]:
    with ToldServer() as told:
        yield told
