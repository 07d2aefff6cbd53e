"""The servers that ours is compared with, and where each comes from.

What is not installed here goes into ``var/``: never into the site's own packages.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
VAR = HERE.parent.parent / "var"
GO = VAR / "bench-go"
VENV = VAR / "bench-venv"
NODE_MODULES = VAR / "bench-node" / "node_modules"
WS = "8.23.0"
MAKE_VENV = (sys.executable, "-m", "venv", str(VENV))


@cache
def build_go() -> str:
    """Build the Go peer; return what is missing for it, or ""."""
    if not (go := shutil.which("go")):
        return "no Go (Debian: golang-go)"
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
    return run(
        "no gorilla (Debian: golang-github-gorilla-websocket-dev)",
        *(go, "build", "-o", str(GO), "."),
        cwd=HERE / "gorilla",
        env=environment,
    )


@cache
def install(package: str) -> str:
    """Install a pinned package of requirements.txt; return what is missing, or ""."""
    if not VENV.exists() and (missing := run("no venv", *MAKE_VENV)):
        return missing
    lines = (HERE / "requirements.txt").read_text().splitlines()
    wanted = [line.partition("#")[0].strip() for line in lines]
    wanted = [line for line in wanted if line.startswith((package, "uv"))]
    pip = (str(VENV / "bin" / "pip"), "install", "-q", "--disable-pip-version-check")
    return run(f"no {package}", *pip, *wanted)


@cache
def install_ws() -> str:
    """Install Node's ws; return what is missing for it, or ""."""
    if not shutil.which("node") or not (npm := shutil.which("npm")):
        return "no Node.js (Debian: nodejs npm)"
    options = ("--silent", "--no-audit", "--no-fund", "--prefix")
    directory = NODE_MODULES.parent
    directory.mkdir(parents=True, exist_ok=True)
    return run("no ws", npm, "install", *options, str(directory), f"ws@{WS}")


def run(missing: str, *command: str, **options: object) -> str:
    """Run a command; return ``missing`` if it fails, or ""."""
    done = subprocess.run(command, capture_output=True, check=False, **options)  # type: ignore[call-overload]
    return missing if done.returncode else ""


def versions() -> list[str]:
    """Return the peers' versions, of those that are installed."""
    names = ("socketify", "picows", "python-socketio")
    packages = output(str(VENV / "bin" / "pip"), "list", "--format=freeze").split()
    found = [line.replace("==", " ") for line in packages if line.startswith(names)]
    if go := output("go", "version"):
        found.append(f"Go {go.split()[2].removeprefix('go')}")
    debian = "golang-github-gorilla-websocket-dev"
    if gorilla := output("dpkg-query", "-Wf${Version}", debian):
        found.append(f"gorilla/websocket {gorilla.partition('-')[0]}")
    if NODE_MODULES.exists() and (node := output("node", "-v")):
        found += [f"Node {node.removeprefix('v')}", f"ws {WS}"]
    return found


def output(*command: str) -> str:
    """Return what a command prints, or "" if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
