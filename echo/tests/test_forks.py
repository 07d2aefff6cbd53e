"""A forked process does what one with an interpreter of its own does."""

import os
import subprocess
import sys

import pytest

from echo.tests import forks
from echo.tests.live import ROOT

COMMANDS = {
    "output": ["-c", "import sys; print(sys.argv, __name__, sys.stdin.read())", "a"],
    "code": ["-c", "import sys; sys.exit(3)"],
    "reason": ["-c", "import sys; sys.exit('for this reason')"],
    "exception": ["-c", "import sys; sys.stderr.write('before\\n'); 1 / 0"],
    "signal": [
        "-c",
        "import os; print('before', flush=True); os.kill(os.getpid(), 15)",
    ],
    "interrupt": ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"],
    "module": ["-m", "echo.tests.strangers", "neither"],
    "script": ["manage.py", "version"],
    "atexit": ["-c", "import atexit; atexit.register(print, 'at the end')"],
    "loop": [
        "-c",
        "import asyncio, gc; loop = asyncio.new_event_loop(); gc.collect(); "
        "loop.run_until_complete(asyncio.sleep(0)); print(loop.is_closed())",
    ],
    "environment": ["-c", "import os; print(os.environ['NAME'], os.getcwd())"],
}
# The site's modules depend on the environment, and an event loop is of one process.
FOREIGN = """
import sys
names = {"echo", "wsdemo", "daphne"}
print([name for name in sys.modules if name.split(".")[0] in names])
print("twisted.internet.reactor" in sys.modules)
"""


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_fork_ends_and_prints_as_a_process_of_its_own_does(
    command: list[str],
) -> None:
    environment = os.environ | {"NAME": "小王子"}
    expected = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        input=b"a line\n",
        capture_output=True,
    )
    got = forks.run([sys.executable, *command], env=environment, input=b"a line\n")
    assert (got.returncode, got.stdout) == (expected.returncode, expected.stdout)
    assert got.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_a_fork_has_nothing_of_the_site_and_no_event_loop() -> None:
    done = forks.run([sys.executable, "-c", FOREIGN], env=dict(os.environ), check=True)
    assert done.stdout.decode().splitlines() == ["['echo', 'echo.tests']", "False"]


def test_a_fork_that_takes_too_long_is_killed() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(subprocess.TimeoutExpired):
        forks.run(command, env=dict(os.environ), timeout=0.1)
    # Nobody has waited for the killed one's end.
    command = [sys.executable, "-c", "print('as before')"]
    for _ in range(2):
        assert forks.run(command, env=dict(os.environ)).stdout == b"as before\n"
