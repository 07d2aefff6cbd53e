"""The page's frame tool: what it builds, it sends to this site, and shows the true answer."""

from collections.abc import Iterator
from typing import Any

import pytest

from echo.lab.examples import MISTAKES, VALID, Mistake, Valid, bytes_of
from echo.lab.frames import MAX_BYTES
from echo.tests.lab.posting import Visitor
from echo.tests.live import LiveSite

HELLO = "818537fa213d7f9f4d5158"  # RFC 6455 section 5.7's masked "Hello"


@pytest.fixture
def visitor(site: LiveSite) -> Iterator[Visitor]:
    with Visitor(site, "/protocol/") as visitor:
        yield visitor


def answer(visitor: Visitor, path: str, **settings: Any) -> Any:
    response = visitor.post(f"/protocol/frames/{path}", **settings)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_frame_is_built_and_read(visitor: Visitor) -> None:
    built = answer(visitor, "build", payload="Hello", masking_key="37fa213d")
    assert built["hex"] == HELLO
    assert built == answer(visitor, "read", hex=HELLO)
    (frame,) = built["frames"]
    assert frame["fields"][4] == {
        "field": "opcode",
        "start": 0,
        "end": 1,
        "bits": [4, 8],
        "value": 1,
        "section": "5.2",
    }


def test_an_example_is_read_by_its_name(visitor: Visitor) -> None:
    read = answer(visitor, "read", example="fragments")
    assert [frame["fin"] for frame in read["frames"]] == [False, True]


@pytest.mark.parametrize("valid", VALID, ids=lambda valid: valid.name)
def test_a_valid_example_has_its_true_answer(visitor: Visitor, valid: Valid) -> None:
    result = answer(visitor, "send", hex=bytes_of(valid).hex())
    answers = [
        (frame["opcode"], bytes.fromhex(payload_of(frame)))
        for frame in result["answer"]["frames"]
    ]
    assert answers == [*valid.answer]
    assert result["ending"] == ("closed" if result["sent"]["end"] else "open")


def payload_of(frame: Any) -> str:
    fields = {field["field"]: field["value"] for field in frame["fields"]}
    return str(fields.get("payload", ""))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_has_its_true_answer(visitor: Visitor, mistake: Mistake) -> None:
    result = answer(visitor, "send", hex=bytes_of(mistake).hex())
    end = result["answer"]["end"]
    assert (end["close_code"], end["error"]) == (mistake.close_code, None)
    assert result["ending"] == "closed"


def test_a_frame_that_is_cut_has_no_answer(visitor: Visitor) -> None:
    result = answer(visitor, "send", hex=HELLO[:-2])
    assert result["sent"]["frames"][0]["missing"] == 1
    assert result["answer"]["frames"] == []
    assert result["ending"] == "open"


@pytest.mark.parametrize(
    ("path", "settings", "status"),
    [
        ("build", {"opcode": 99}, 400),
        ("build", {"sender": "proxy"}, 400),
        ("read", {"hex": "8"}, 400),
        ("read", {"example": "none"}, 400),
        ("read", {"example": {}}, 400),
        ("read", {"hex": "00" * (MAX_BYTES + 1)}, 413),
        ("read", {"hex": "8900" * 101}, 413),
        ("send", {"hex": "zz"}, 400),
    ],
)
def test_a_wrong_setting_is_refused(
    visitor: Visitor, path: str, settings: dict[str, Any], status: int
) -> None:
    response = visitor.post(f"/protocol/frames/{path}", **settings)
    assert response.status_code == status
    assert response.json()["detail"]
