"""Runs the Autobahn testsuite's fuzzing client against ``/echo`` on both servers.

    python -m bench.conformance            # installs the suite in var/ if it can
    python -m bench.conformance --write    # and writes the table into docs/conformance.md

The suite is Python 2 only. It is installed in a virtual environment of its own, made by a
newer Python from the interpreter that ``--python2`` names. Exits 0 if every case passed, 1 if
one failed or was not run, 2 if the suite cannot be installed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.peers import build_go
from bench.servers import CONTESTANTS, ROOT, VAR, running

SUITE = VAR / "autobahn"
WSTEST = SUITE / "bin" / "wstest"
REPORTS = VAR / "conformance"
PAGE = ROOT / "docs" / "conformance.md"
START, END = "<!-- table: start -->", "<!-- table: end -->"
# The last releases that run on Python 2.7 and work together; installed in this order.
PACKAGES = (
    ["incremental==16.10.1", "cryptography==3.3.2", "pyOpenSSL==19.1.0"],
    ["--no-build-isolation", "Twisted==19.10.0"],
    ["--no-build-isolation", "autobahntestsuite==25.10.1"],
)
VIRTUALENV = "virtualenv==20.21.1"  # the last release for Python 2
# 247 and 54 cases. The default cap, 1 MiB, refuses the larger messages of group 9.
GROUPS = {
    "1-7, 10": (["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"], 247, {}),
    "9": (["9.*"], 54, {"ECHO_MAX_MESSAGE_BYTES": str(16 * 1024 * 1024)}),
}
# By their names in the table.
SERVERS = {
    "daphne, ours": CONTESTANTS["daphne, ours"],
    "uvicorn, ours": CONTESTANTS["uvicorn, ours"],
    "gorilla": CONTESTANTS["Go"],
}
PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")


class Unavailable(Exception):
    """The suite cannot be installed; the text says what is missing."""


def find(*candidates: str | None) -> str | None:
    """Return the first of these commands that runs; a pyenv shim may exist and fail."""
    for candidate in candidates:
        if not candidate or not (path := shutil.which(candidate)):
            continue
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([path, "--version"], check=True, capture_output=True)
            return path
    return None


def interpreter(version: str) -> str | None:
    """Return a Python of this version, from the path or from pyenv; None if there is none."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    kept = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return find(f"python{version}", *map(str, kept))


def set_up(python2: str | None) -> None:
    """Install the suite into var/autobahn. Raises Unavailable."""
    python2 = find(python2) if python2 else interpreter("2.7")
    maker = interpreter("3.9") or interpreter("3.8")
    if not python2:
        raise Unavailable("no Python 2.7: install one, and name it with --python2")
    if not maker:
        raise Unavailable(
            "no Python 3.8 or 3.9, which the last virtualenv for 2.7 needs"
        )
    environment = VAR / "virtualenv"
    run(maker, "-m", "venv", str(environment))
    run(str(environment / "bin" / "pip"), "install", "-q", VIRTUALENV)
    versions = ("--setuptools", "44.0.0", "--wheel", "0.36.2")
    run(str(environment / "bin" / "virtualenv"), "-p", python2, *versions, str(SUITE))
    for packages in PACKAGES:
        run(str(SUITE / "bin" / "pip"), "install", "-q", *packages)


def run(*command: str) -> None:
    """Run a command. Raises Unavailable if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)} failed:\n{done.stderr[-800:]}")


def run_cases(name: str, group: str) -> dict[str, str]:
    """Run a group of cases against a server; return the verdicts by case.

    A case of the group that has no verdict counts as "NOT RUN".
    """
    cases, count, environment = GROUPS[group]
    directory = REPORTS / f"{name}-{group}".replace(", ", "-")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with running(SERVERS[name], environment, core=None) as server:
        specification = directory / "fuzzingclient.json"
        target = {"agent": name, "url": f"ws://127.0.0.1:{server.port}/echo"}
        specification.write_text(
            json.dumps(
                {
                    "outdir": str(directory),
                    "servers": [target],
                    "cases": cases,
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                }
            )
        )
        # wstest always exits 0: the verdicts are in its report.
        run(str(WSTEST), "-m", "fuzzingclient", "-s", str(specification))
    report = json.loads((directory / "index.json").read_text()).get(name, {})
    seen = {case: worst(result) for case, result in report.items()}
    return seen | {f"missing {n}": "NOT RUN" for n in range(count - len(seen))}


def worst(result: dict[str, str]) -> str:
    """Return the worse verdict of a case: of its messages, or of its closing handshake."""
    if result["behaviorClose"] not in PASSED:
        return result["behaviorClose"]
    return result["behavior"]


def rows(results: dict[tuple[str, str], dict[str, str]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| server | cases | OK | non-strict | informational | failed or not run |"
    yield "|---|---|---:|---:|---:|---|"
    for (name, group), seen in results.items():
        counts = Counter(seen.values())
        failed = sorted(case for case, verdict in seen.items() if verdict not in PASSED)
        numbers = " | ".join(str(counts[verdict]) for verdict in PASSED)
        yield f"| {name} | {group} | {numbers} | {', '.join(failed) or 0} |"


def write(table: str) -> None:
    """Replace the table in the documentation."""
    before, _, rest = PAGE.read_text().partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n{table}\n{END}{after}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python2", help="a Python 2.7 (default: looked for)")
    parser.add_argument(
        "--server",
        action="append",
        choices=SERVERS,
        help="may be repeated (default: all)",
    )
    parser.add_argument(
        "--write", action="store_true", help="update the table in docs/conformance.md"
    )
    options = parser.parse_args(arguments)
    names = options.server or list(SERVERS)
    if "gorilla" in names and (missing := build_go()):
        print(f"gorilla is left out: {missing}")
        names.remove("gorilla")
    try:
        if not WSTEST.exists():
            set_up(options.python2)
        results = {(n, group): run_cases(n, group) for n in names for group in GROUPS}
    except Unavailable as reason:
        print(f"The Autobahn testsuite cannot be installed: {reason}")
        return 2
    table = "\n".join(rows(results))
    print(table)
    if options.write:
        write(table)
    ours = (seen for (name, _), seen in results.items() if name != "gorilla")
    return int(any(v not in PASSED for seen in ours for v in seen.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
