"""The load generators, and a server to put their load on."""

import shutil
from collections.abc import Iterator

import pytest

from echo.load.fallback import PythonLoad
from echo.load.generator import SILENCE_SECONDS, Load
from echo.tests.load.server import ToldServer


@pytest.fixture
def silence_seconds() -> float:
    """How long what never comes is waited for; a test of just that gives a shorter time."""
    return SILENCE_SECONDS


@pytest.fixture
def c_load(
    tmp_path_factory: pytest.TempPathFactory, silence_seconds: float
) -> Iterator[Load]:
    if not shutil.which("cc"):
        pytest.skip("no cc: install gcc to build the load generator")
    # One directory for all tests: the program is built once.
    directory = tmp_path_factory.getbasetemp() / "load"
    with Load(directory, silence_seconds) as load:
        yield load


@pytest.fixture(params=["C", "Python"])
def load(
    request: pytest.FixtureRequest, silence_seconds: float
) -> Iterator[Load | PythonLoad]:
    if request.param == "C":
        yield request.getfixturevalue("c_load")
    else:
        with PythonLoad(silence_seconds) as python_load:
            yield python_load


@pytest.fixture
def server() -> Iterator[ToldServer]:
    with ToldServer() as told:
        yield told
