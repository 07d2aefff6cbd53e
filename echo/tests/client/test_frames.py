"""The frame parser of the trace, against the serializer of ``websockets``."""

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from echo.client.frames import FrameParser, WireFrame

# Both sides of each boundary of RFC 6455's three length encodings.
LENGTHS = st.one_of(
    st.integers(0, 300), st.sampled_from([125, 126, 127, 65_535, 65_536, 65_537])
)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Return any valid frame: control frames are short and not fragmented."""
    opcode = draw(st.sampled_from(Opcode))
    if opcode >= Opcode.CLOSE:
        return Frame(opcode, draw(st.binary(max_size=125)), True)
    seed = draw(st.binary(min_size=1, max_size=8))
    length = draw(LENGTHS)
    return Frame(opcode, (seed * length)[:length], draw(st.booleans()))


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Return the same bytes in pieces."""
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=12).map(sorted))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def feed_all(parser: FrameParser, data: list[bytes]) -> list[WireFrame]:
    return [frame for piece in data for frame in parser.feed(piece)]


@given(st.data(), st.lists(st.tuples(frames(), st.booleans()), max_size=5))
def test_every_frame_is_read_back_wherever_the_stream_is_cut(
    data: st.DataObject, sent: list[tuple[Frame, bool]]
) -> None:
    wires = [frame.serialize(mask=mask) for frame, mask in sent]
    parser = FrameParser()
    seen = feed_all(parser, data.draw(pieces(b"".join(wires))))
    assert parser.unfinished == b""
    assert [
        (frame.opcode, frame.fin, frame.rsv, frame.length, frame.payload)
        for frame in seen
    ] == [
        (frame.opcode, frame.fin, 0, len(frame.data), frame.data) for frame, _ in sent
    ]
    assert [frame.masking_key is not None for frame in seen] == [m for _, m in sent]
    assert [frame.header + frame.wire_payload for frame in seen] == wires


@given(frames(), st.integers(0, 7))
def test_the_reserved_bits_are_shown(frame: Frame, rsv: int) -> None:
    wire = bytearray(frame.serialize(mask=False))
    wire[0] |= rsv << 4
    assert FrameParser().feed(bytes(wire))[0].rsv == rsv


@given(st.data(), st.binary(max_size=400))
def test_arbitrary_bytes_are_read_the_same_wherever_they_are_cut(
    data: st.DataObject, stream: bytes
) -> None:
    whole, cut = FrameParser(), FrameParser()
    seen = whole.feed(stream)
    assert feed_all(cut, data.draw(pieces(stream))) == seen
    assert cut.unfinished == whole.unfinished
    wire = b"".join(frame.header + frame.wire_payload for frame in seen)
    assert wire + whole.unfinished == stream


@given(st.data(), frames(), st.booleans(), st.integers(0, 300))
def test_a_payload_is_kept_up_to_a_limit_and_counted_beyond_it(
    data: st.DataObject, frame: Frame, mask: bool, keep: int
) -> None:
    wire = frame.serialize(mask=mask) + Frame(Opcode.PING, b"next").serialize(mask=mask)
    seen = feed_all(FrameParser(keep), data.draw(pieces(wire)))
    assert [(f.length, f.payload) for f in seen] == [
        (len(frame.data), frame.data[:keep]),
        (4, b"next"[:keep]),
    ]
