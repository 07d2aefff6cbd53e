"""docs/protocol.md is true: its examples, from top to bottom, print what it says.

And the numbers in SECURITY.md are those of the site.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from echo import durations, http, knobs, protocol
from echo.feed import subscription
from echo.lab import frames, tap
from echo.servers import core
from echo.tests.live import COMMANDS, ROOT, LiveSite, wait_until
from echo.views import anything

SECURITY = (ROOT / "SECURITY.md").read_text()
PAGE = (ROOT / "docs" / "protocol.md").read_text()
EXAMPLE = re.compile(r"```(sh|python|js)\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
RUN = {
    "sh": ["bash", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "--eval"],
}
# What differs each time, as `re.escape` writes it: marked with …, an id or a time.
VARIES = {
    "…": ".+?",
    r"k3Zp9w1q\\-\d+": r"\\w{8}-\\d+",
    r"2026\\-11\\-20T[\d:.\\]+Z": r"[\\dT:.-]+Z",
}
MAKE_TOKEN = """
from echo.models import Token
token = Token(name="docs", topics="weather.*")
secret = token.renew_secret()
token.save()
print(f"{token.pk}.{secret}")
"""


def expected(line: str) -> re.Pattern[str]:
    pattern = re.escape(line)
    for varying, match in VARIES.items():
        pattern = re.sub(varying, match, pattern)
    return re.compile(pattern)


def run_until_printed(
    language: str, code: str, told: str, environment: dict[str, str], output: Path
) -> None:
    """Run an example until it has printed what the page says, line by line."""
    patterns = [expected(line) for line in told.splitlines() if line]
    with output.open("wb") as stdout:
        process = subprocess.Popen(
            [*RUN[language], code],
            env=environment,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def printed() -> str:
        return output.read_text(errors="replace")  # a character may be cut

    def is_printed() -> bool:
        lines = [
            line for line in output.read_text(errors="replace").splitlines() if line
        ]
        return len(lines) >= len(patterns) and all(
            pattern.fullmatch(line)
            for pattern, line in zip(patterns, lines, strict=False)
        )

    try:
        wait_until(is_printed, f"\n{told}\nfrom\n{code}")
    except AssertionError as error:
        raise AssertionError(
            f"{error}\ngot\n{output.read_text(errors='replace')}"
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.skipif(
    not shutil.which("node"),
    reason="no Node.js: install it to run the page's examples "
    "(Debian: apt-get install nodejs)",
)
@pytest.mark.parametrize("server", COMMANDS)
def test_the_examples_print_what_the_page_says(server: str, tmp_path: Path) -> None:
    examples = EXAMPLE.findall(PAGE)
    assert {language for language, *_ in examples} == set(RUN)
    with LiveSite(server, tmp_path) as site:
        token = site.manage("shell", "-v0", "-c", MAKE_TOKEN).strip()
        environment = dict(os.environ) | {"TOKEN": token}
        for number, (language, code, told) in enumerate(examples):
            here = code.replace("localhost:8000", f"127.0.0.1:{site.port}")
            output = tmp_path / f"{number}.out"
            run_until_printed(language, here, told, environment, output)


def test_every_runnable_example_says_what_it_prints() -> None:
    assert len(re.findall(r"^```(?:sh|python|js)$", PAGE, re.MULTILINE)) == len(
        EXAMPLE.findall(PAGE)
    )


def test_every_close_code_of_the_feed_is_on_the_page() -> None:
    listed = {int(code) for code in re.findall(r"^\| (4\d{3}) \|", PAGE, re.MULTILINE)}
    assert listed == {int(code) for code in protocol.CloseCode if code >= 4000}


def test_the_limits_on_the_page_are_the_site_s() -> None:
    assert f"repeatable, at most {protocol.MAX_TOPICS};" in PAGE
    assert f"at most {protocol.MAX_TOPIC_LENGTH} characters" in PAGE
    assert f"at most {protocol.MAX_DATA_BYTES // 1024} KiB" in PAGE
    assert f"list of up to {protocol.MAX_PUBLISHED_AT_ONCE}" in PAGE
    assert f"(at most {protocol.MAX_KEY_LENGTH} characters" in PAGE
    assert f"up to {protocol.MAX_WAIT_SECONDS} seconds" in PAGE


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


# --- SECURITY.md -----------------------------------------------------------------------


def test_the_settings_in_the_security_policy_have_these_defaults() -> None:
    listed = dict(re.findall(r"`([A-Z_]+)` = `([^`]+)`", SECURITY))
    assert len(listed) >= 8
    environment = {k: v for k, v in os.environ.items() if k not in listed}
    show = "import wsdemo.settings as s; print(*(float(getattr(s, n)) for n in {!r}))"
    shown = subprocess.run(
        [sys.executable, "-c", show.format([*listed])],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert dict(zip(listed, map(float, shown), strict=True)) == {
        name: float(value) for name, value in listed.items()
    }


def limit(what: str) -> str:
    """Return the second column of the row of limits that begins with this."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", SECURITY, re.MULTILINE)
    return next(found for name, found in rows if name.startswith(what))


def test_the_limits_in_the_security_policy_are_the_site_s() -> None:
    unread = f"{core.MAX_UNREAD_MESSAGES}, or {core.MAX_UNREAD_BYTES // 1024} KiB"
    assert unread in limit("messages that wait")
    assert f"{core.CLOSE_TIMEOUT_SECONDS:g} s" in limit("a peer that")
    longest = f"{knobs.MAX_DURATION_SECONDS:g} s, {durations.MAX_CHARACTERS} characters"
    assert longest in limit("`delay`")
    parameters = f"{knobs.MAX_PARAMETERS}; {protocol.MAX_TOPICS} of them topics of"
    assert f"{parameters} {protocol.MAX_TOPIC_LENGTH} " in limit("parameters")
    queued = f"{subscription.MAX_QUEUED_EVENTS:,}, or 1 MiB"
    assert queued in limit("events that wait")
    assert subscription.MAX_QUEUED_BYTES == anything.MAX_BODY_BYTES == 1024 * 1024
    assert f"{protocol.MAX_WAIT_SECONDS} s" in limit("a long poll")
    size = f"{protocol.MAX_PUBLISHED_AT_ONCE} events of {protocol.MAX_DATA_BYTES >> 10}"
    assert f"{size} KiB" in limit("one publish")
    assert f"within {http.BODY_SECONDS:g} s" in limit("one publish")


def test_the_limits_of_taps_and_frames_are_the_site_s() -> None:
    bound = f"{tap.MAX_BYTES >> 10} KiB and {tap.MAX_FRAMES:,} frames"
    times = (
        f"{tap.MAX_SECONDS:g} s; its key is good for one tap, for {tap.KEY_SECONDS} s"
    )
    assert limit("one tapped") == f"{bound} both ways, {times}"
    sockets = f"{tap.MAX_SOCKETS} and {tap.MAX_SOCKETS_PER_ADDRESS}, then 429"
    assert limit("tapped connections") == sockets
    given = f"{frames.MAX_FRAMES} frames, {frames.MAX_BYTES >> 10} KiB"
    assert limit("frames that") == given
