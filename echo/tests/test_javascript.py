"""The tests of the JavaScript modules, run by Node.js."""

import shutil
import subprocess

import pytest

from echo.tests.live import ROOT


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
