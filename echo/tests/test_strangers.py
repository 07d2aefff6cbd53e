"""No parser is slow for a client's text, and each raises only its own exception."""

import subprocess
import sys

import pytest

from echo.tests.live import ROOT
from echo.tests.strangers import CPU_SECONDS


@pytest.mark.parametrize("kind", ["patterns", "parsers"])
def test_no_text_of_a_client_takes_long(kind: str) -> None:
    """In a process of its own, because a regular expression cannot be interrupted."""
    run = subprocess.run(
        [sys.executable, "-m", "echo.tests.strangers", kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    names = run.stdout.splitlines()
    assert run.returncode >= 0, f"over {CPU_SECONDS} s, slower than linear: {names[-1]}"
    assert run.returncode == 0, run.stderr
    assert [line for line in names if line.startswith("  ")] == []
    assert len(names) > 15
