"""What both servers answer to each ready-made request, and which rule explains it."""

from collections.abc import Iterator

import pytest

from echo.lab.handshake_rules import EXAMPLES, RULES, Example
from echo.lab.handshakes import MAX_REQUEST_BYTES
from echo.tests.lab.posting import Visitor
from echo.tests.live import LiveSite

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.fixture(scope="module")
def visitor(site: LiveSite) -> Iterator[Visitor]:
    with Visitor(site, "/protocol/") as visitor:
        yield visitor


def request_of(example: Example, site: LiveSite) -> str:
    host = f"127.0.0.1:{site.port}"
    return example.request.format(host=host, origin=f"http://{host}", key=KEY)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_ready_made_request_is_answered_as_its_rule_says(
    site: LiveSite, visitor: Visitor, example: Example
) -> None:
    answer = visitor.post(
        "/protocol/handshake", request=request_of(example, site)
    ).json()
    rule = answer["rule"]["name"] if answer["rule"] else ""
    assert (answer["status"], rule) == (example.status, example.rule), answer
    assert (ACCEPT in answer["head"]) == (example.status == 101)


def test_each_rule_has_a_ready_made_mistake() -> None:
    broken = {example.rule for example in EXAMPLES}
    assert {rule.name for rule in RULES} <= broken


def test_the_reason_is_in_the_visitors_language(
    site: LiveSite, visitor: Visitor
) -> None:
    """The server's own body stays as it is on the wire."""
    answer = visitor.post("/protocol/handshake", request="GET /echo HTTP/1.0").json()
    assert answer["rule"]["sections"] == ["6455 4.2.1", "9110 15.5.22"]
    assert answer["rule"]["reason"]
    assert answer["body"].startswith("{")


@pytest.mark.parametrize(
    ("request_text", "status", "reason"),
    [
        ("GET /metrics HTTP/1.1\nHost: localhost", 400, "/metrics"),
        ("GET http://localhost/metrics HTTP/1.1", 400, "/echo"),
        ("GET /echo HTTP/1.1\n\nGET /metrics HTTP/1.1", 400, "empty line"),
        ("GET /echo HTTP/1.1\r\rGET /metrics HTTP/1.1", 400, "empty line"),
        ("GET /echo HTTP/1.1\nX: " + "x" * MAX_REQUEST_BYTES, 413, "8192"),
        (7, 400, "text"),
    ],
)
def test_a_request_that_may_not_be_sent_is_refused_with_the_reason(
    visitor: Visitor, request_text: str, status: int, reason: str
) -> None:
    response = visitor.post("/protocol/handshake", request=request_text)
    assert response.status_code == status
    assert reason in response.json()["detail"]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\n\n\n"])
def test_lines_end_as_in_http_however_they_were_written(
    site: LiveSite, visitor: Visitor, end: str
) -> None:
    lines = request_of(EXAMPLES[0], site).split("\n")
    separator = end if len(end) < 3 else "\n"
    answer = visitor.post("/protocol/handshake", request=separator.join(lines) + end)
    assert answer.json()["status"] == 101


def test_a_body_that_never_comes_is_waited_for_a_while(
    site: LiveSite, visitor: Visitor
) -> None:
    request = f"POST /echo HTTP/1.1\nHost: 127.0.0.1:{site.port}\nContent-Length: 5"
    answer = visitor.post("/protocol/handshake", request=request).json()
    assert (answer["status"], answer["ending"]) == (0, "quiet")


def test_a_post_needs_the_token_of_the_page(visitor: Visitor) -> None:
    response = visitor.client.post("/protocol/handshake", json={"request": ""})
    assert response.status_code == 403
