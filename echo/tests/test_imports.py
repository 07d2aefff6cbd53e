"""The imports run one way, as pyproject.toml lays the layers down."""

import re
import subprocess
import sys
from pathlib import Path

from echo.tests.live import ROOT


def test_no_import_runs_against_the_layers() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout


def test_the_feed_has_one_door() -> None:
    inside = re.compile(r"^\s*(from|import) echo\.feed\.", re.MULTILINE)
    rooms = (ROOT / "echo" / "feed", ROOT / "echo" / "tests")
    users = [
        path
        for folder in ("echo", "bench", "wsdemo")
        for path in (ROOT / folder).rglob("*.py")
        if not any(path.is_relative_to(room) for room in rooms)
    ]
    assert [path for path in users if inside.search(path.read_text())] == []
