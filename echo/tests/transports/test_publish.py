"""POST /feed/publish: permissions, valid and invalid bodies, and refusals."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.testing import HttpCommunicator
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from echo.models import Event, Token, hash_secret
from echo.protocol import EVENT_ID
from echo.tests.live import PATIENCE_SECONDS
from echo.tests.transports.adapters import Answer
from echo.transports import publish
from wsdemo.asgi import application

# The site's own threads look tokens and users up. All apps are flushed: a flush of some would
# leave the others without their content types and permissions, for whichever test is next.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "rate", publish.Rate())


@async_to_sync
async def ask(method: str, body: Any = b"", **headers: str) -> Answer:
    """Send one request to the site's ASGI application."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"host": "testserver", "content-type": "application/json"} | headers
    communicator = HttpCommunicator(
        application,
        method,
        "/feed/publish",
        content,
        [(name.replace("_", "-").encode(), v.encode()) for name, v in fields.items()],
    )
    response = await communicator.get_response(PATIENCE_SECONDS)
    shown = {name.decode(): value.decode() for name, value in response["headers"]}
    return Answer(response["status"], shown, response["body"])


def make_token(topics: str = "*", **fields: Any) -> tuple[Token, str]:
    """Return a token, and the credentials of its bearer."""
    token = Token(name="tests", topics=topics, **fields)
    secret = token.renew_secret()
    token.save()
    return token, f"{token.pk}.{secret}"


@pytest.fixture
def bearer() -> str:
    return make_token()[1]


def post(body: Any, bearer: str | None = None) -> Answer:
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    return ask("POST", body, **headers)


def refused(response: Answer, status: int) -> str:
    """Return the reason of a refusal; check its JSON."""
    assert response.status == status, response.body
    assert response.headers["content-type"].startswith("application/json")
    answer: dict[str, Any] = response.json()
    assert answer["status_code"] == status
    assert not Event.objects.exists()
    return str(answer["detail"])


NEWS = {"topic": "news", "data": "hello"}


# --- by token -------------------------------------------------------------------------


def test_an_event_is_created_and_its_id_comes_back(bearer: str) -> None:
    response = post(NEWS, bearer)
    assert response.status == 201
    answer = response.json()
    assert set(answer) == {"id", "duplicate"}
    assert EVENT_ID.fullmatch(answer["id"])
    assert answer["duplicate"] is False
    row = Event.objects.get()
    assert (row.topic, row.data, row.source, row.author) == (
        "news",
        '"hello"',
        "http",
        "token tests",
    )


def test_a_list_is_published_in_order(bearer: str) -> None:
    events = [{"topic": "news", "data": number} for number in range(100)]
    response = post(events, bearer)
    assert response.status == 201
    ids = [event["id"] for event in response.json()["events"]]
    assert [int(one.split("-")[1]) for one in ids] == list(range(1, 101))


def test_a_key_makes_a_retry_harmless(bearer: str) -> None:
    first = post(NEWS | {"key": "k"}, bearer).json()
    again = post(NEWS | {"key": "k"}, bearer)
    assert again.status == 201
    assert again.json() == {"id": first["id"], "duplicate": True}
    assert Event.objects.count() == 1


def test_null_is_data_too(bearer: str) -> None:
    assert post({"topic": "news", "data": None}, bearer).status == 201


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "1",
        "1.",
        ".x",
        "x.y",
        "99.secret",
        "9" * 30 + ".x",
        "9" * 5000 + ".x",
        "٣.x",
    ],
)
def test_a_token_that_is_none_is_refused(bearer: str, credentials: str) -> None:
    response = post(NEWS, credentials)
    assert "expected a valid bearer token" in refused(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_secret_that_is_not_the_token_s_is_refused(bearer: str) -> None:
    assert refused(post(NEWS, f"{bearer}x"), 401)


def test_a_token_that_is_not_active_is_refused() -> None:
    assert refused(post(NEWS, make_token(is_active=False)[1]), 401)


def test_a_renewed_secret_ends_the_old_one() -> None:
    token, old = make_token()
    new = f"{token.pk}.{token.renew_secret()}"
    token.save()
    assert refused(post(NEWS, old), 401)
    assert post(NEWS, new).status == 201


def test_only_the_hash_of_a_secret_is_stored() -> None:
    token, bearer = make_token()
    secret = bearer.partition(".")[2]
    stored = Token.objects.values().get(pk=token.pk)
    assert secret not in str(stored)
    assert stored["secret_hash"] == hash_secret(secret)


def test_a_token_is_limited_to_its_topics() -> None:
    bearer = make_token("news.* weather")[1]
    reason = refused(post({"topic": "sport", "data": 1}, bearer), 403)
    assert reason == "token tests may publish to news.* weather, not to sport"
    mixed = [{"topic": "weather", "data": 1}, {"topic": "news", "data": 1}]
    assert refused(post(mixed, bearer), 403)
    assert post({"topic": "news.eu", "data": 1}, bearer).status == 201
    assert post({"topic": "weather", "data": 1}, bearer).status == 201


def test_the_last_use_is_remembered() -> None:
    token, bearer = make_token()
    assert token.last_used_at is None
    began = timezone.now()
    post(NEWS, bearer)
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert began <= token.last_used_at <= timezone.now()


# --- by session -----------------------------------------------------------------------


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


def may_publish(user: User) -> User:
    user.user_permissions.add(Permission.objects.get(codename="add_event"))
    return user


def post_as(user: User, csrf: bool = True, **headers: str) -> Answer:
    """Post with the user's session, through Django's CSRF check."""
    client = Client()
    client.force_login(user)
    cookies = {"sessionid": client.cookies["sessionid"].value}
    if csrf:
        cookies["csrftoken"] = headers["x_csrftoken"] = "x" * 32
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return ask("POST", NEWS, cookie=cookie, **headers)


def test_a_user_with_the_permission_publishes_with_session_and_csrf(ada: User) -> None:
    assert post_as(may_publish(ada)).status == 201
    assert Event.objects.get().author == "ada"


def test_a_session_without_a_csrf_token_is_refused(ada: User) -> None:
    assert "X-CSRFToken" in refused(post_as(may_publish(ada), csrf=False), 403)


def test_a_user_without_the_permission_is_refused(ada: User) -> None:
    assert "ada lacks the permission to add events" in refused(post_as(ada), 403)


def test_a_publisher_without_credentials_is_refused() -> None:
    response = post(NEWS)
    assert "expected a bearer token, or a session" in refused(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


# --- what is taken --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "expected JSON such as"),
        (b"topic=news", "expected JSON such as"),
        (b"\xff", "expected JSON such as"),
        (b"[" * 100_000, "expected JSON such as"),
        ([], "or a list of 1 to 100 of them"),
        (b'"news"', 'expected {"topic", "data", "key"}'),
        ([NEWS, 1], 'expected {"topic", "data", "key"}'),
        ({"topic": "news"}, 'expected {"topic", "data"}'),
        (NEWS | {"date": 1}, 'expected {"topic", "data"}'),
        ({"data": 1}, "topic: expected words"),
        ({"topic": "no topic", "data": 1}, "topic: expected words"),
        ({"topic": ["news"], "data": 1}, "topic: expected words"),
        (NEWS | {"key": ""}, "key: expected 1 to 200 characters"),
        (b'{"topic":"news","data":NaN}', "data: expected a JSON value"),
        (b'{"topic":"news","data":"\\ud800"}', "data: expected a JSON value"),
    ],
)
def test_what_is_no_event_is_refused(bearer: str, body: Any, reason: str) -> None:
    assert reason in refused(post(body, bearer), 400)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data; boundary=BoUnDaRyStRiNg",
        "multipart/form-data; boundary=",
        "application/x-www-form-urlencoded",
        "text/plain; charset=nonsense",
    ],
)
def test_a_body_is_json_whatever_its_type_says(ada: User, kind: str) -> None:
    assert post_as(may_publish(ada), content_type=kind).status == 201


def test_too_much_is_refused(bearer: str) -> None:
    large = {"topic": "news", "data": "x" * 65_535}
    assert "at most 65536 bytes" in refused(post(large, bearer), 413)
    assert "at most 100 events" in refused(post([NEWS] * 101, bearer), 413)
    body = post([large] * 50, bearer)
    assert "expected a body of at most 2621440 bytes" in refused(body, 413)


def test_a_batch_with_one_bad_event_is_refused_whole(bearer: str) -> None:
    assert refused(post([NEWS, {"topic": "no topic", "data": 1}], bearer), 400)


def test_a_publisher_is_held_to_its_rate(
    bearer: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FEED_PUBLISHES_PER_SECOND = 3
    monkeypatch.setattr(publish, "time", SimpleNamespace(monotonic=lambda: 0.0))
    other = make_token()[1]
    statuses = [post(NEWS, bearer).status for _ in range(5)]
    assert statuses == [201, 201, 201, 429, 429]
    response = post([NEWS] * 3, bearer)
    assert response.status == 429
    assert response.headers["retry-after"] == "1"
    assert "at most 3 events a second" in response.json()["detail"]
    assert post(NEWS, other).status == 201


def test_publishing_is_a_post(bearer: str) -> None:
    response = ask("GET")
    assert (response.status, response.headers["allow"]) == (405, "POST")
