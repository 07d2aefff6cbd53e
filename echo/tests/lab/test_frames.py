"""Frames that are built are read again, and judged as the servers judge them."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.protocol import State

from echo.lab.bounds import LabError
from echo.lab.frames import (
    BINARY,
    CLOSE,
    CONT,
    LONGEST,
    MAX_FRAMES,
    MAX_PAYLOAD_BYTES,
    PING,
    RULES,
    TEXT,
    Frame,
    FrameReader,
    FrameSpec,
    decode,
    encode,
    hex_bytes,
    spec_from,
)
from echo.servers.core import FaithfulCore
from echo.tests.servers.frames import encode as encode_for_the_servers

KEY = b"\x37\xfa\x21\x3d"  # RFC 6455 section 5.7's own
# Small, so that few bytes are too many.
MAX_MESSAGE_BYTES = 300


def spec(opcode: int = TEXT, payload: bytes = b"", **fields: Any) -> FrameSpec:
    return FrameSpec(opcode, payload, **{"masking_key": KEY} | fields)


# --- strategies ------------------------------------------------------------------------


@st.composite
def specs(draw: st.DrawFn, *, true_length: bool = False) -> FrameSpec:
    """Any frame that can be built; with its true length if asked for."""
    payload = draw(st.binary(max_size=300))
    # hypothesis rarely makes long ones, and each form of the length has to be met.
    payload *= draw(st.sampled_from([1, 1, 1, 1, 250]))
    forms = [
        form for form in LONGEST if not true_length or len(payload) <= LONGEST[form]
    ]
    length_bits = draw(st.sampled_from([None, None, None, *forms]))
    longest = LONGEST[length_bits or 64]
    declared: st.SearchStrategy[int | None] = st.integers(0, longest)
    if len(payload) <= longest:
        declared = st.none() if true_length else st.none() | st.none() | declared
    return FrameSpec(
        opcode=draw(st.integers(0, 15)),
        payload=payload,
        fin=draw(st.booleans()),
        rsv=draw(st.integers(0, 7)),
        masking_key=draw(st.none() | st.binary(min_size=4, max_size=4)),
        length=draw(declared),
        length_bits=length_bits,
    )


ORDERLY_TEXTS = ["", "hello", "小王子", "🎉", "a" * 126]
BROKEN_TEXTS = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe5\xb0", b"\x8f\xe7\x8e\x8b"]
CODES = [0, 999, 1000, 1004, 1005, 1006, 1007, 1014, 1015, 1016, 2999, 3000, 4999, 5000]


@st.composite
def likely_frames(draw: st.DrawFn) -> bytes:
    """A frame that is often valid, so that the frames after it are read as well."""
    opcode = draw(st.sampled_from([CONT, CONT, TEXT, TEXT, BINARY, CLOSE, PING, 10]))
    if opcode == CLOSE:
        code = draw(st.sampled_from(CODES)).to_bytes(2, "big")
        reason = draw(st.sampled_from([b"", b"bye", "再见".encode(), *BROKEN_TEXTS]))
        payload = draw(st.sampled_from([b"", b"\x03", code, code + reason]))
    elif opcode == BINARY:
        payload = draw(st.binary(max_size=200))
    else:
        texts = [text.encode() for text in ORDERLY_TEXTS]
        payload = draw(st.sampled_from([*texts, *texts, *BROKEN_TEXTS]))
    rarely = draw(st.integers(0, 9)) == 0
    return encode(
        spec(
            opcode,
            payload,
            fin=draw(st.booleans()) or (opcode >= CLOSE and not rarely),
            rsv=draw(st.integers(0, 7)) if rarely else 0,
            masking_key=None if rarely and draw(st.booleans()) else KEY,
            length_bits=draw(st.sampled_from([16, 64])) if rarely else None,
        )
    )


streams = (
    st.lists(likely_frames() | specs().map(encode), max_size=6).map(b"".join)
    | st.lists(likely_frames(), max_size=12).map(b"".join)
    | st.binary(max_size=60)
)


# --- round trips -----------------------------------------------------------------------


def check_round_trip(built: FrameSpec) -> None:
    data = encode(built)
    (frame, *more) = FrameReaderOfAll(data).frames
    declared = built.declared_length
    assert frame.fin == built.fin
    assert frame.rsv == built.rsv
    assert frame.opcode == built.opcode
    assert frame.masking_key == built.masking_key
    assert frame.length == declared
    assert frame.payload == built.payload[:declared]
    assert frame.missing == max(0, declared - len(built.payload))
    assert bool(more) == (declared < len(built.payload))


class FrameReaderOfAll(FrameReader):
    """Keeps the frames themselves, with the whole of their payloads."""

    def __init__(self, data: bytes) -> None:
        super().__init__("client")
        self.frames: list[Frame] = []
        self.feed(data)
        self.rest()

    def take(self, frame: Frame, start: int) -> dict[str, Any]:
        self.frames.append(frame)
        return super().take(frame, start)


def test_every_frame_that_is_built_is_read_again(
    request: pytest.FixtureRequest,
) -> None:
    """100,000 of them with ``--soak``."""
    examples = 100_000 if request.config.getoption("--soak") else 500
    run = settings(
        max_examples=examples,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )(given(specs())(check_round_trip))
    run()


@given(specs(true_length=True))
def test_the_fields_cover_each_bit_of_the_frame_once(built: FrameSpec) -> None:
    (frame, *_) = decode(encode(built), "client")["frames"]
    covered: list[int] = []
    for field in frame["fields"]:
        if field["field"] in ("close_code", "close_reason"):  # parts of the payload
            continue
        first, end = field.get("bits", (0, 8 * (field["end"] - field["start"])))
        covered += range(8 * field["start"] + first, 8 * field["start"] + end)
    assert covered == list(range(8 * frame["size"]))


@given(st.lists(specs(true_length=True), max_size=6))
def test_frames_in_any_pieces_are_the_same_frames(built: list[FrameSpec]) -> None:
    data = b"".join(map(encode, built))
    whole = decode(data, "client")
    reader = FrameReader("client")
    pieces = [reader.feed(data[i : i + 7]) for i in range(0, len(data), 7)]
    assert sum(pieces, []) == whole["frames"]
    assert reader.end == whole["end"]
    assert reader.rest() is None


@given(specs(true_length=True), st.data())
def test_a_frame_that_is_cut_says_how_much_it_needs(
    built: FrameSpec, chance: st.DataObject
) -> None:
    data = encode(built)
    cut = chance.draw(st.integers(1, len(data)))
    (frame,) = decode(data[:cut], "client")["frames"]
    assert frame["size"] == cut
    missing = len(data) - cut
    if frame["at_least"]:
        assert 0 < frame["missing"] <= missing
    else:
        assert frame["missing"] == missing


# --- judgements ------------------------------------------------------------------------


def end_in_the_core(data: bytes) -> tuple[str | None, int | None]:
    """Return how the servers' core ends a connection that has received the bytes."""
    core = FaithfulCore(max_size=MAX_MESSAGE_BYTES)
    core.state = State.OPEN
    core.receive_data(data)
    if core.parser_exc is not None:
        assert core.close_sent is not None
        return ("failure", core.close_sent.code)
    if core.close_rcvd is not None:
        return ("close", core.close_rcvd.code)
    return (None, None)


@settings(max_examples=1000)
@given(streams)
def test_bytes_end_a_connection_here_as_in_the_servers(data: bytes) -> None:
    reader = FrameReader("client", MAX_MESSAGE_BYTES)
    reader.feed(data)
    reader.rest()
    end = reader.end
    kind = end and ("failure" if end["error"] else "close")
    assert (kind, end and end["close_code"]) == end_in_the_core(data)


def errors(data: bytes, sender: str = "client") -> list[list[str]]:
    frames = decode(data, sender, 1024 * 1024)["frames"]
    return [[error["error"] for error in frame["errors"]] for frame in frames]


def test_a_server_s_frames_must_not_be_masked() -> None:
    assert errors(encode(spec(payload=b"x")), "server") == [["masked"]]
    assert errors(encode(spec(payload=b"x", masking_key=None)), "server") == [[]]
    assert errors(encode(spec(payload=b"x", masking_key=None))) == [["not-masked"]]


def test_a_frame_has_all_its_errors() -> None:
    data = encode(spec(13, b"x" * 126, fin=False, rsv=5, masking_key=None))
    assert errors(data) == [
        [
            "reserved-opcode",
            "reserved-bit",
            "reserved-bit",
            "not-masked",
            "control-too-long",
            "control-fragmented",
        ]
    ]


def test_frames_after_the_end_are_marked_as_unread() -> None:
    close = spec(CLOSE, (1000).to_bytes(2, "big"))
    data = b"".join(map(encode, [spec(payload=b"a"), close, spec(payload=b"b")]))
    read = decode(data, "client")
    assert [frame["unread"] for frame in read["frames"]] == [False, False, True]
    assert read["end"] == {"frame": 1, "close_code": 1000, "error": None}


def test_a_text_is_checked_across_its_fragments() -> None:
    first, second = "小".encode()[:2], "小".encode()[2:]
    fragments = [spec(TEXT, first, fin=False), spec(PING), spec(CONT, second)]
    assert errors(b"".join(map(encode, fragments))) == [[], [], []]
    fragments[2] = spec(CONT, b"\xff")
    assert errors(b"".join(map(encode, fragments))) == [[], [], ["not-utf-8"]]


def test_lengths_beyond_javascript_s_numbers_are_digits() -> None:
    (frame,) = decode(encode(spec(length=2**63 - 1)), "client")["frames"]
    assert frame["length"] == "9223372036854775807"


def test_of_a_long_payload_the_beginning_is_shown() -> None:
    (frame,) = FrameReader("client", None, 512).feed(encode(spec(BINARY, bytes(5000))))
    payload = frame["fields"][-1]
    assert payload["end"] - payload["start"] == 5000
    assert payload["value"] == "00" * 512
    assert payload["hidden"] == 5000 - 512
    assert len(frame["hex"]) // 2 == payload["start"] + 512


def test_every_rule_s_section_is_one_of_the_standard_s() -> None:
    sections = {rule.section for rule in RULES.values()}
    assert sections <= {"5.1", "5.2", "5.4", "5.5", "5.5.1", "7.4.1", "7.4.2", "8.1"}


@pytest.mark.parametrize(("opcode", "payload"), [(TEXT, b"hello"), (PING, b"")])
def test_a_frame_is_the_one_that_the_servers_tests_send(
    opcode: int, payload: bytes
) -> None:
    assert encode(spec(opcode, payload)) == encode_for_the_servers(opcode, payload)


# --- settings --------------------------------------------------------------------------


def test_a_frame_is_set_bit_by_bit() -> None:
    given_settings = {
        "fin": False,
        "rsv": 5,
        "opcode": 2,
        "mask": True,
        "masking_key": "37 fa 21 3d",
        "length": "18446744073709551615",
        "length_form": "64",
        "payload_kind": "hex",
        "payload": "0x00 0xff",
    }
    assert spec_from(given_settings) == FrameSpec(
        BINARY, b"\x00\xff", False, 5, KEY, 2**64 - 1, 64
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"opcode": 16},
        {"opcode": "1"},
        {"rsv": 8},
        {"masking_key": "37fa21"},
        {"masking_key": "no"},
        {"length": "-1"},
        {"length": 5},
        {"length": "1" * 21},
        {"length_form": "8"},
        {"payload": 5},
        {"payload": "\ud800"},
        {"payload": "x" * (MAX_PAYLOAD_BYTES + 1)},
        {"payload": "zz", "payload_kind": "hex"},
        {"payload": "0", "payload_kind": "hex"},
        {"payload": "00" * (MAX_PAYLOAD_BYTES + 1), "payload_kind": "hex"},
        {"payload": " " * 10**6, "payload_kind": "hex"},
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LabError):
        spec_from(wrong)


@pytest.mark.parametrize(
    ("bits", "length"), [(7, 126), (16, 65536), (64, 2**64), (None, 2**64)]
)
def test_a_length_that_does_not_fit_in_its_form_is_refused(
    bits: int | None, length: int
) -> None:
    with pytest.raises(LabError):
        encode(spec(length=length, length_bits=bits))


@pytest.mark.parametrize("text", ["8105", "81 05", "0x81,0x05", r"\x81\x05", "81:05\n"])
def test_bytes_are_read_as_tools_print_them(text: str) -> None:
    assert hex_bytes({"hex": text}, "hex", 16) == b"\x81\x05"


def test_too_many_frames_are_refused() -> None:
    data = encode(spec(PING)) * (MAX_FRAMES + 1)
    with pytest.raises(LabError):
        decode(data, "client")


def test_frames_beyond_the_bound_are_not_described() -> None:
    """Thousands fit into a request, and describing them would take a second."""
    reader = FrameReader("client")
    ping = encode(spec(PING))
    assert len(reader.feed(ping * 5, at_most=2)) == 2
    assert len(reader.feed(b"", at_most=0)) == 0
    assert [frame["start"] for frame in reader.feed(b"")] == [
        len(ping) * number for number in (2, 3, 4)
    ]
