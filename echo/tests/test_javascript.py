"""The JavaScript modules: their tests, run by Node.js, and who may import whom."""

import re
import shutil
import subprocess

import pytest

from echo.tests.live import ROOT

MODULES = ROOT / "echo" / "static" / "echo"
IMPORT = re.compile(r'\b(?:from|import) "(\.[^"]+)"')
# The rooms that the modules of a room may import from.
ALLOWED = {
    "site": set(),
    "feed": set(),
    "log": {"site"},
    "console": {"feed", "log", "site"},
    "live": {"feed", "log", "site"},
    "lab": {"feed", "log", "site", "vendor"},
    "admin": {"feed", "site", "vendor"},
}


@pytest.mark.skipif(
    not shutil.which("node"),
    reason="no Node.js: install it to test the JavaScript modules "
    "(Debian: apt-get install nodejs)",
)
def test_the_javascript_modules_pass_their_tests() -> None:
    modules = sorted((ROOT / "echo" / "tests" / "js").glob("*.test.mjs"))
    assert modules
    run = subprocess.run(
        ["node", "--test", *modules], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def imported_rooms(room: str) -> set[str]:
    """Return the other rooms that the modules of a room import from."""
    rooms = set()
    for module in (MODULES / room).rglob("*.js"):
        for target in IMPORT.findall(module.read_text()):
            path = (module.parent / target).resolve()
            rooms.add(path.relative_to(MODULES).parts[0])
    return rooms - {room}


def test_every_module_is_in_a_room() -> None:
    modules = [path.relative_to(MODULES) for path in MODULES.rglob("*.js")]
    assert {path.parts[0] for path in modules} == {*ALLOWED, "vendor"}


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_one_way(room: str) -> None:
    assert imported_rooms(room) <= ALLOWED[room]
