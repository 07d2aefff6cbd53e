"""Whatever strangers send, no parser takes long over it, and each refuses in its own words."""

import subprocess
import sys

import pytest

from echo.tests.live import ROOT

# Both take a few seconds. One pattern that goes back over what it has read takes minutes.
DEADLINE_SECONDS = 90.0


@pytest.mark.parametrize("kind", ["patterns", "parsers"])
def test_no_text_of_a_stranger_takes_long(kind: str) -> None:
    """In a process of its own, because a regular expression cannot be interrupted."""
    command = [sys.executable, "-m", "echo.tests.strangers", kind]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        told, _ = process.communicate(timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        told, _ = process.communicate()
        pytest.fail(f"slower than linear: {told.splitlines()[-1]}")
    assert process.returncode == 0, told
    assert [line for line in told.splitlines() if line.startswith("  ")] == [], told
