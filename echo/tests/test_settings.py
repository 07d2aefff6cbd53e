"""Settings from the environment: errors name what is missing or invalid."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.utils.module_loading import import_string

from echo.tests.live import ROOT

PRODUCTION = {
    "DEBUG": "off",
    "SECRET_KEY": "kZ8!q-only-for-this-test-but-long-and-mixed-enough-2f9A",
    "ALLOWED_HOSTS": "example.com",
}
SETTING = re.compile(r'(?:env\.\w+|required_in_production)\(\s*"([A-Z_]+)"')


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py`` where warnings are errors and nothing else is configured."""
    inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
    )


def names_read() -> set[str]:
    """Return every name that settings.py reads from the environment."""
    return set(SETTING.findall((ROOT / "wsdemo" / "settings.py").read_text()))


def test_no_configuration_at_all_is_fine() -> None:
    run = manage("check")
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("name", ["SECRET_KEY", "ALLOWED_HOSTS"])
@pytest.mark.parametrize("command", [["check"], ["migrate"], ["runserver", "0"]])
def test_what_production_needs_is_named(name: str, command: list[str]) -> None:
    run = manage(*command, **{k: v for k, v in PRODUCTION.items() if k != name})
    assert run.returncode == 1
    assert run.stderr.startswith(f"manage.py: {name} is not set, and DEBUG is off")
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "maybe"),
        ("DATABASE_URL", "nonsense"),
        ("ECHO_MAX_MESSAGE_BYTES", "0"),
        ("ECHO_MAX_MESSAGE_BYTES", "1k"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(name: str, value: str) -> None:
    run = manage("check", **{name: value})
    assert run.returncode == 1
    assert f'"{name}" invalid' in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_production_settings_pass_the_deployment_check() -> None:
    run = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert run.returncode == 0, run.stderr
    assert "no issues" in run.stdout


@pytest.fixture(params=settings.MIDDLEWARE)
def middleware(request: pytest.FixtureRequest) -> Iterator[object]:
    return import_string(request.param)


def test_every_middleware_is_async_capable(middleware: object) -> None:
    """One that is not would put every request, long polls included, in one thread."""
    assert getattr(middleware, "async_capable", False)


def test_the_readme_lists_the_settings_that_are_read() -> None:
    section = (ROOT / "README.md").read_text().split("\n## Settings\n")[1]
    rows = re.findall(r"^\| `([A-Z_]+)` \|", section.split("\n## ")[0], re.MULTILINE)
    assert set(rows) == names_read()
    assert len(rows) == len(set(rows))


def test_the_example_names_only_settings_that_are_read() -> None:
    example = (ROOT / ".env.example").read_text()
    names = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert PRODUCTION.keys() <= names <= names_read()


def test_only_the_settings_file_reads_the_environment() -> None:
    """Django's autoreloader is an exception: its child knows itself by a variable only."""
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("wsdemo/**/*.py"), *ROOT.glob("echo/**/*.py")]
        if re.search(
            r"\bos\.(environ(?!\.setdefault|\.get\(DJANGO_AUTORELOAD_ENV\))|getenv)|\bEnv\(",
            path.read_text(),
        )
        and "tests" not in path.parts
    }
    assert readers == {"wsdemo/settings.py"}
