"""/anything returns a request with httpbin's field names."""

import base64
from typing import Any

import httpx
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from echo.tests.live import PATIENCE_SECONDS, LiveSite
from echo.views.anything import MAX_BODY_BYTES

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@pytest.fixture
def client() -> Client:
    return Client(enforce_csrf_checks=True)


def ask(
    client: Client, body: bytes | str, content_type: str, method: str = "POST"
) -> Any:
    response = client.generic(method, "/anything", body, content_type)
    assert response.status_code == 200, response.content
    return response.json()


@pytest.mark.parametrize("method", METHODS)
def test_any_method_is_given_back(client: Client, method: str) -> None:
    seen = client.generic(method, "/anything/a/b?x=1").json()
    assert (seen["method"], seen["url"]) == (
        method,
        "http://testserver/anything/a/b?x=1",
    )
    assert seen["origin"] == "127.0.0.1"


def test_the_fields_are_httpbin_s(client: Client) -> None:
    assert client.get("/anything").json().keys() == {
        *("method", "url", "args", "headers", "origin"),
        *("data", "json", "form", "files"),
    }


def test_repeated_arguments_become_a_list(client: Client) -> None:
    assert client.get("/anything?a=1&b=&a=2").json()["args"] == {
        "a": ["1", "2"],
        "b": "",
    }


def test_cookies_and_credentials_are_redacted(client: Client) -> None:
    secret = {"cookie": "a=secret", "authorization": "Bearer secret", "x-mine": "shown"}
    response = client.get("/anything", headers=secret)
    assert "secret" not in response.content.decode()
    headers = response.json()["headers"]
    assert headers["Cookie"] == headers["Authorization"] == "[redacted]"
    assert headers["X-Mine"] == "shown"


def test_text_is_data(client: Client) -> None:
    seen = ask(client, "小王子", "text/plain")
    assert (seen["data"], seen["json"]) == ("小王子", None)


def test_json_is_data_and_json(client: Client) -> None:
    seen = ask(client, '{"a": [1, "é"]}', "application/json")
    assert (seen["data"], seen["json"]) == ('{"a": [1, "é"]}', {"a": [1, "é"]})


@pytest.mark.parametrize(
    "text", ['{"a":', "NaN", "[1e999]", '"\\ud800"', "[" * 100_000, "9" * 5000, ""]
)
def test_what_json_cannot_give_back_is_data_alone(client: Client, text: str) -> None:
    seen = ask(client, text, "application/json")
    assert (seen["data"], seen["json"]) == (text, None)


def test_binary_is_a_data_url(client: Client) -> None:
    payload = bytes(range(256))
    seen = ask(client, payload, "application/octet-stream")
    prefix, encoded = seen["data"].split(",")
    assert prefix == "data:application/octet-stream;base64"
    assert base64.b64decode(encoded) == payload


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_form_of_any_method_is_a_form(client: Client, method: str) -> None:
    form = "a=1&b=%E5%B0%8F&a=2"
    seen = ask(client, form, "application/x-www-form-urlencoded", method)
    assert seen["form"] == {"a": ["1", "2"], "b": "小"}
    assert seen["data"] == ""


@pytest.mark.parametrize("method", METHODS[1:])
def test_uploads_of_any_method_are_files(client: Client, method: str) -> None:
    body = encode_multipart(
        BOUNDARY,
        {
            "x": "1",
            "text": SimpleUploadedFile("a.txt", "小".encode(), "text/plain"),
            "image": SimpleUploadedFile("a.png", b"\x89PNG\xff", "image/png"),
            "two": [SimpleUploadedFile("b", b"b"), SimpleUploadedFile("c", b"c")],
        },
    )
    seen = ask(client, body, MULTIPART_CONTENT, method)
    assert seen["form"] == {"x": "1"}
    image = base64.b64encode(b"\x89PNG\xff").decode()
    assert seen["files"] == {
        "text": "小",
        "image": f"data:image/png;base64,{image}",
        "two": ["b", "c"],
    }


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"x", "multipart/form-data", "Invalid boundary"),
        (b"&".join([b"a=1"] * 1001), "application/x-www-form-urlencoded", "exceeded"),
    ],
)
def test_a_malformed_body_is_answered_400(
    client: Client, body: bytes, content_type: str, reason: str
) -> None:
    response = client.generic("POST", "/anything", body, content_type)
    assert response.status_code == 400
    assert response.json()["error"] == "Bad Request"
    assert reason in response.json()["detail"]


def test_a_body_over_the_limit_is_answered_413(client: Client) -> None:
    full = b"x" * MAX_BODY_BYTES
    assert ask(client, full, "text/plain")["data"] == full.decode()
    response = client.generic("POST", "/anything", full + b"x", "text/plain")
    assert response.status_code == 413
    assert response.json()["detail"].startswith(
        f"expected a body of at most {len(full)}"
    )


def test_a_body_whose_length_is_not_told_is_read(site: LiveSite) -> None:
    """A chunked request has no Content-Length."""
    body = encode_multipart(BOUNDARY, {"x": "1"})
    response = httpx.put(
        f"{site.url}/anything",
        content=iter([body[:10], body[10:]]),
        headers={"content-type": MULTIPART_CONTENT},
    )
    assert response.json()["headers"]["Transfer-Encoding"] == "chunked"
    assert response.json()["form"] == {"x": "1"}


def test_a_malformed_upload_is_answered_400_by_both_servers(site: LiveSite) -> None:
    headers = {"content-type": "multipart/form-data"}
    response = httpx.post(
        f"{site.url}/anything", content=b"x", headers=headers, timeout=PATIENCE_SECONDS
    )
    assert response.status_code == 400
    assert response.json()["error"] == "Bad Request"
