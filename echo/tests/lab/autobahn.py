"""Every mistake in groups 1 to 7 of Autobahn's testsuite (25.10.1), in its own bytes.

Cases 7.13.1 and 7.13.2 are in the suite's group of those whose outcome it only records.
"""

from echo.lab.examples import close, numbered, sent
from echo.lab.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, FrameSpec

HELLO = sent(TEXT, b"Hello, world!")
KOSME = bytes.fromhex("cebae1bdb9cf83cebcceb5")
# A surrogate, U+D800, between valid texts.
WRONG = KOSME + b"\xed\xa0\x80edited"
# 0x110000, beyond Unicode.
BEYOND = b"\xf4\x90\x80\x80"
FIN, MORE = True, False


def frames(*given: tuple[int, bool, bytes]) -> list[FrameSpec]:
    return [sent(opcode, payload, fin=fin) for opcode, fin, payload in given]


def one_byte_each(text: bytes) -> list[FrameSpec]:
    opcodes = [TEXT] + [CONT] * (len(text) - 1)
    return [
        sent(opcode, bytes([byte]), fin=False)
        for opcode, byte in zip(opcodes, text, strict=True)
    ]


def lonely(first: int, end: int) -> bytes:
    """Return the first bytes of characters, each followed by a space."""
    return b"".join(bytes([byte, 0x20]) for byte in range(first, end))


def from_hex(texts: str) -> list[bytes]:
    return list(map(bytes.fromhex, texts.split()))


INCOMPLETE = from_hex(
    "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf"
)
# Cases 6.5 and later are texts in one frame, numbered in the order of their group.
TEXTS: dict[str, list[bytes]] = {
    "6.8": from_hex("f888808080 fc8480808080"),
    "6.10": from_hex("f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf"),
    "6.12": [
        *from_hex("80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf"),
        bytes(range(0x80, 0xBF)),
    ],
    "6.13": [
        lonely(0xC0, 0xDF),
        lonely(0xE0, 0xEF),
        lonely(0xF0, 0xF7),
        lonely(0xF8, 0xFB),
        lonely(0xFC, 0xFD),
    ],
    "6.14": INCOMPLETE,
    "6.15": [b"".join(INCOMPLETE)],
    "6.16": from_hex("fe ff fefeffff"),
    "6.17": from_hex("c0af e080af f08080af f8808080af fc80808080af"),
    "6.18": from_hex("c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf"),
    "6.19": from_hex("c080 e08080 f0808080 f880808080 fc8080808080"),
    "6.20": from_hex("eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf"),
    "6.21": [
        high + low
        for high in from_hex("eda080 edadbf edae80 edafbf")
        for low in from_hex("edb080 edbfbf")
    ],
}

CASES: dict[str, list[FrameSpec]] = {
    "2.5": [sent(PING, b"\xfe" * 126)],
    "3.1": [sent(TEXT, b"Hello, world!", rsv=1)],
    "3.2": [HELLO, sent(TEXT, b"Hello, world!", rsv=2), sent(PING)],
    "3.3": [HELLO, sent(TEXT, b"Hello, world!", rsv=3), sent(PING)],
    "3.4": [HELLO, sent(TEXT, b"Hello, world!", rsv=4), sent(PING)],
    "3.5": [sent(BINARY, bytes.fromhex("00fffefdfcfb00ff"), rsv=5)],
    "3.6": [sent(PING, b"Hello, world!", rsv=6)],
    "3.7": [sent(CLOSE, rsv=7)],
    "4.1.1": [sent(3)],
    "4.1.2": [sent(4, b"reserved opcode payload")],
    "4.1.3": [HELLO, sent(5), sent(PING)],
    "4.1.4": [HELLO, sent(6, b"Hello, world!"), sent(PING)],
    "4.1.5": [HELLO, sent(7, b"Hello, world!"), sent(PING)],
    "4.2.1": [sent(11)],
    "4.2.2": [sent(12, b"reserved opcode payload")],
    "4.2.3": [HELLO, sent(13), sent(PING)],
    "4.2.4": [HELLO, sent(14, b"Hello, world!"), sent(PING)],
    "4.2.5": [HELLO, sent(15, b"Hello, world!"), sent(PING)],
    "5.1": frames((PING, MORE, b"fragment1"), (CONT, FIN, b"fragment2")),
    "5.2": frames((PONG, MORE, b"fragment1"), (CONT, FIN, b"fragment2")),
    **{
        name: [sent(CONT, b"non-continuation payload", fin=fin), HELLO]
        for fin, names in (
            (FIN, numbered("5", 9, 10, 11)),
            (MORE, numbered("5", 12, 13, 14)),
        )
        for name in names
    },
    "5.15": frames(
        (TEXT, MORE, b"fragment1"),
        (CONT, FIN, b"fragment2"),
        (CONT, MORE, b"fragment3"),
        (TEXT, FIN, b"fragment4"),
    ),
    **{
        name: frames(
            (CONT, fin, b"fragment1"),
            (TEXT, MORE, b"fragment2"),
            (CONT, FIN, b"fragment3"),
        )
        * 2
        for name, fin in (("5.16", MORE), ("5.17", FIN))
    },
    "5.18": frames((TEXT, MORE, b"fragment1"), (TEXT, FIN, b"fragment2")),
    "6.3.1": [sent(TEXT, WRONG)],
    "6.3.2": one_byte_each(WRONG),
    "6.4.1": frames((TEXT, MORE, KOSME), (CONT, MORE, BEYOND), (CONT, FIN, b"edited")),
    "6.4.2": frames(
        (TEXT, MORE, KOSME + BEYOND[:1]),
        (CONT, MORE, BEYOND[1:2]),
        (CONT, FIN, BEYOND[2:] + b"edited"),
    ),
    "6.4.3": [sent(TEXT, KOSME + BEYOND + b"edited")],
    "6.4.4": [sent(TEXT, KOSME + BEYOND + b"edited")],
    **{
        name: [sent(TEXT, KOSME[: int(name.rpartition(".")[2])])]
        for name in numbered("6.6", 1, 3, 4, 6, 8, 10)
    },
    **{
        f"{group}.{number}": [sent(TEXT, text)]
        for group, texts in TEXTS.items()
        for number, text in enumerate(texts, 1)
    },
    "6.11.5": [sent(TEXT, BEYOND)],
    "7.3.2": [sent(CLOSE, b"a")],
    "7.3.6": [close(1000, b"*" * 124)],
    "7.5.1": [close(1000, WRONG)],
    **{
        f"7.9.{number}": [close(code)]
        for number, code in enumerate(
            (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1
        )
    },
    "7.13.1": [close(5000)],
    "7.13.2": [close(65535)],
}
