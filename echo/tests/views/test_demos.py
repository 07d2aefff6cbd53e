"""The routes of gin's examples, byte for byte."""

import pytest
from django.test import Client
from google.protobuf.message import Message

from echo.views.demos import Test as ProtoTest


@pytest.fixture
def client() -> Client:
    return Client(headers={"accept": "*/*"})


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/hello", '{"message":"Hello world!"}'),
        ("/someJSON", '{"message":"Hello world!"}'),
        ("/moreJSON", '{"user":"小王子","Message":"Hello world!","Age":18}'),
        ("/user/search", '{"message":"ok","username":"小王子","address":""}'),
        (
            "/user/search?username=小红&address=B-612",
            '{"message":"ok","username":"小红","address":"B-612"}',
        ),
        (
            "/user/search?username=&address=",
            '{"message":"ok","username":"","address":""}',
        ),
    ],
)
def test_json_is_compact_utf_8(client: Client, url: str, body: str) -> None:
    response = client.get(url)
    assert response.content == body.encode()
    assert response["Content-Type"] == "application/json; charset=utf-8"


def test_protobuf_is_gin_s_test_message(client: Client) -> None:
    response = client.get("/someProtoBuf")
    assert response["Content-Type"] == "application/x-protobuf"
    assert response.content == b"\x0a\x04test\x18\x01\x18\x02"
    message: Message = ProtoTest.FromString(response.content)
    assert (message.label, message.type, message.reps) == ("test", 77, [1, 2])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url", ["/hello", "/someJSON", "/moreJSON", "/someProtoBuf", "/user/search"]
)
def test_they_can_only_be_read(client: Client, url: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    response = strict.post(url)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
    assert response.json() == {
        "status_code": 405,
        "error": "Method Not Allowed",
        "detail": "expected GET, HEAD, got POST",
    }
    assert client.head(url).status_code == 200
