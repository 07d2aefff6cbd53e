"""The imports run one way, as pyproject.toml lays the layers down."""

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
