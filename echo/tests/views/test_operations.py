"""Endpoints for operations: health, readiness and metrics."""

import re
from pathlib import Path

import httpx
import pytest

from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite, wait_until


def test_a_site_that_answers_is_alive(site: LiveSite) -> None:
    answer = site.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-cache" in answer.headers["Cache-Control"]


def test_a_site_with_its_log_is_ready(site: LiveSite) -> None:
    answer = site.get("/readyz")
    assert answer.status_code == 200
    state = answer.json()
    assert (state["status"], state["log"], state["channel_layer"]) == (
        "ok",
        "up",
        "none",
    )
    assert re.fullmatch(r"\w{8}-\d+", state["head"])


def sample(site: LiveSite, name: str) -> float:
    """Return one metric, or 0 if it does not exist yet."""
    text = site.get("/metrics").text
    match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0


def test_the_figures_count_what_happens(site: LiveSite) -> None:
    answer = site.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    opened = 'feed_connections{transport="sse"}'
    events, resets = "feed_events_total", 'feed_resets_total{reason="epoch"}'
    wait_until(lambda: not sample(site, opened), "earlier streams to be gone")
    before = {name: sample(site, name) for name in (events, resets)}
    url = f"{site.url}/feed/sse?since=00000000-1"
    with httpx.stream("GET", url, timeout=PATIENCE_SECONDS) as stream:
        assert stream.status_code == 200
        assert sample(site, opened) == 1
        wait_until(lambda: sample(site, resets) == before[resets] + 1, "the reset")
        site.manage("broadcast", "counted")
        wait_until(
            lambda: sample(site, events) == before[events] + 1, "the event's count"
        )
    wait_until(lambda: not sample(site, opened), "the stream to be gone")


@pytest.mark.parametrize("server", COMMANDS)
def test_a_site_without_its_log_is_alive_and_not_ready(
    server: str, tmp_path: Path
) -> None:
    site = LiveSite(server, tmp_path)
    site.start()  # nobody has migrated its database
    try:
        assert site.get("/healthz").status_code == 200
        answer = site.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "down", "log": "down"}
        assert "no such table" in site.log
        assert "Traceback" not in site.log
    finally:
        site.stop()
