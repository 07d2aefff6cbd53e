"""What no database, no wire or no reader could hold is refused with 400, and never with 500."""

import httpx

from echo.tests.live import PATIENCE_SECONDS
from echo.tests.survival.conftest import Start
from echo.tests.survival.publishers import MAKE_TOKEN

REFUSED = [
    rb'{"data":1,"topic":"news","key":"\ud800"}',
    rb'{"data":1,"topic":"news","key":"a\udfff"}',
    b'{"data":1,"topic":"news","key":"\xed\xa0\x80"}',  # the same, not escaped
    rb'{"data":1,"topic":"news","key":"a\u0000b"}',
    rb'{"data":1,"topic":"news","key":1e400}',
    b'{"data":1,"topic":"news","key":%s}' % (b"9" * 4000),
    b'{"data":1,"topic":"news","key":%s}' % (b"9" * 5000),
    rb'{"data":1,"topic":"\ud800"}',
    rb'{"data":1,"topic":"a\u0000"}',
    rb'{"data":1,"topic":NaN}',
    rb'{"data":"\ud800","topic":"news"}',
    rb'{"data":{"\ud800":1},"topic":"news"}',
    b'{"data":"\xed\xa0\x80","topic":"news"}',
    b'{"data":"\xff","topic":"news"}',
    b'{"data":NaN,"topic":"news"}',
    b'{"data":-Infinity,"topic":"news"}',
    b'{"data":1e400,"topic":"news"}',
    b'{"data":%s,"topic":"news"}' % (b"9" * 5000),
    b'{"data":%s,"topic":"news"}' % (b"[" * 20_000 + b"]" * 20_000),
    b'{"data":1,"topic":"news","author":"me"}',
    b"",
    b"\xff\xfe",
    b"[]",
    b"[[]]",
]
TAKEN = [
    b'{"data":"\\u0000","topic":"news","key":"\xf0\x9f\x8e\x89"}',
    b'{"data":1,"data":2,"topic":"x","topic":"news"}',  # JSON's last one counts
    b'{"data":%s,"topic":"news"}' % (b"9" * 4000),
    '{"data":"\u2028\x7f\ufffe\\ud83c\\udf89","topic":"news"}'.encode(),
    '{"data":1,"topic":"news"}'.encode("utf-16"),
]


def nested(name: bytes, depth: int) -> bytes:
    """Return an event with lists nested about as deep as Python can write and read."""
    value = b"[" * depth + b"]" * depth
    fields = {b"data": b"1", b"topic": b'"news"'} | {name: value}
    return b"{%s}" % b",".join(b'"%s":%s' % field for field in fields.items())


def test_odd_events_are_refused_with_400(database_url: str, start: Start) -> None:
    site = start("uvicorn", database_url, FEED_PUBLISHES_PER_SECOND="10000")
    token = site.manage("shell", "-v0", "-c", MAKE_TOKEN).strip()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(
        base_url=site.url, headers=headers, timeout=PATIENCE_SECONDS
    ) as client:

        def status(body: bytes) -> int:
            return client.post("/feed/publish", content=body).status_code

        assert {body[:80]: status(body) for body in REFUSED} == {
            body[:80]: 400 for body in REFUSED
        }
        assert [status(body) for body in TAKEN] == [201] * len(TAKEN)
        depths = range(900, 1010, 15)
        for name in (b"data", b"topic", b"key"):
            assert {status(nested(name, depth)) for depth in depths} <= {201, 400}
        shown = client.get("/feed/poll?since=earliest")
        assert shown.status_code == 200
        assert shown.text.count('"type":"event"') >= len(TAKEN)
