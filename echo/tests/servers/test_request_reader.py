"""The reader returns the same requests however their bytes are cut."""

import pytest

from echo.servers.heads import Refusal, RequestReader

SIZED = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
CHUNKED = b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
PLAIN = b"GET /c HTTP/1.1\r\nhost: x\r\n\r\n"
STREAM = (
    SIZED
    + b"hello"
    + b"\r\n"  # from an old client
    + CHUNKED
    + b"3;a=b\r\nabc\r\n02\r\nde\r\n0\r\nX: y\r\n\r\n"
    + PLAIN
)


def read(*pieces: bytes, max_body_bytes: int = 100) -> list[bytes]:
    """Return a reader's output for the pieces."""
    reader, output = RequestReader(max_body_bytes=max_body_bytes), []
    for piece in pieces:
        reader.buffer += piece
        while data := reader.read():
            output.append(data)
    return output


def without_framing(output: list[bytes]) -> bytes:
    """Return the output with chunks replaced by their data: they may be cut anywhere."""
    before, head, rest = b"".join(output).partition(CHUNKED)
    data = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        data, rest = data + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        if int(size, 16) == 0:
            return before + head + data + rest


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 1000])
def test_a_stream_reads_the_same_in_pieces_of_any_size(size: int) -> None:
    pieces = [STREAM[i : i + size] for i in range(0, len(STREAM), size)]
    assert (
        without_framing(read(*pieces)) == SIZED + b"hello" + CHUNKED + b"abcde" + PLAIN
    )


def test_a_head_comes_alone() -> None:
    assert read(STREAM)[:2] == [SIZED, b"hello"]


def test_a_line_feed_alone_is_refused_wherever_the_bytes_are_cut() -> None:
    lines = b"GET / HTTP/1.1\r\nhost: x\n"
    for cut in range(1, len(lines)):
        with pytest.raises(Refusal, match="CRLF"):
            read(lines[:cut], lines[cut:])
    assert read(PLAIN[:15], PLAIN[15:]) == [PLAIN]  # between CR and LF


def test_the_framing_of_a_chunked_body_counts() -> None:
    with pytest.raises(Refusal) as refused:
        read(CHUNKED, b"1\r\na\r\n" * 17)
    assert refused.value.status == 413


@pytest.mark.parametrize("name", [b"Secret", b"SECRET"])
def test_an_untrusted_header_is_taken_out(name: bytes) -> None:
    reader = RequestReader(max_body_bytes=0, untrusted=[b"secret"])
    reader.buffer += PLAIN[:-2] + name + b": x\r\n\r\n"
    assert reader.read() == PLAIN
