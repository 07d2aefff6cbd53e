"""POST /feed/publish: who may, what is taken, and what each refusal says."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from echo.models import Event, Token, hash_secret
from echo.protocol import EVENT_ID
from echo.views import publish as view

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "rate", view.Rate())


def make_token(topics: str = "*", **fields: Any) -> tuple[Token, str]:
    """A token and what its bearer sends."""
    token = Token(name="tests", topics=topics, **fields)
    secret = token.renew_secret()
    token.save()
    return token, f"{token.pk}.{secret}"


@pytest.fixture
def bearer() -> str:
    return make_token()[1]


def post(body: Any, bearer: str | None = None, **options: Any) -> Any:
    if bearer is not None:
        options["headers"] = {"Authorization": f"Bearer {bearer}"}
    return Client().post("/feed/publish", body, "application/json", **options)


def refused(response: Any, status: int) -> str:
    """The reason of a refusal, which is JSON as everywhere on the site."""
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith("application/json")
    answer: dict[str, Any] = response.json()
    assert answer["status_code"] == status
    assert not Event.objects.exists()
    return str(answer["detail"])


NEWS = {"topic": "news", "data": "hello"}


# --- by token -------------------------------------------------------------------------


def test_an_event_is_created_and_its_id_comes_back(bearer: str) -> None:
    response = post(NEWS, bearer)
    assert response.status_code == 201
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
    assert response.status_code == 201
    ids = [event["id"] for event in response.json()["events"]]
    assert [int(one.split("-")[1]) for one in ids] == list(range(1, 101))


def test_a_key_makes_a_retry_harmless(bearer: str) -> None:
    first = post(NEWS | {"key": "k"}, bearer).json()
    again = post(NEWS | {"key": "k"}, bearer)
    assert again.status_code == 201
    assert again.json() == {"id": first["id"], "duplicate": True}
    assert Event.objects.count() == 1


def test_null_is_data_too(bearer: str) -> None:
    assert post({"topic": "news", "data": None}, bearer).status_code == 201


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
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_secret_that_is_not_the_token_s_is_refused(bearer: str) -> None:
    assert refused(post(NEWS, f"{bearer}x"), 401)


def test_a_token_that_is_not_active_is_refused() -> None:
    assert refused(post(NEWS, make_token(is_active=False)[1]), 401)


def test_a_renewed_secret_ends_the_old_one() -> None:
    token, old = make_token()
    new = f"{token.pk}.{token.renew_secret()}"
    token.save()
    assert refused(post(NEWS, old), 401)
    assert post(NEWS, new).status_code == 201


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
    assert post({"topic": "news.eu", "data": 1}, bearer).status_code == 201
    assert post({"topic": "weather", "data": 1}, bearer).status_code == 201


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


def post_as(user: User, csrf: bool = True, **options: Any) -> Any:
    """Posts with the user's session, through Django's CSRF check."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    headers = {}
    if csrf:
        client.cookies["csrftoken"] = "x" * 32
        headers["X-CSRFToken"] = "x" * 32
    options = {"content_type": "application/json", "headers": headers} | options
    return client.post("/feed/publish", NEWS, **options)


def test_a_user_with_the_permission_publishes_with_session_and_csrf(ada: User) -> None:
    assert post_as(may_publish(ada)).status_code == 201
    assert Event.objects.get().author == "ada"


def test_a_session_without_a_csrf_token_is_refused(ada: User) -> None:
    assert "X-CSRFToken" in refused(post_as(may_publish(ada), csrf=False), 403)


def test_a_user_without_the_permission_is_refused(ada: User) -> None:
    assert "ada lacks the permission to add events" in refused(post_as(ada), 403)


def test_nobody_is_refused() -> None:
    response = post(NEWS)
    assert "expected a bearer token, or a session" in refused(response, 401)
    assert response["WWW-Authenticate"] == "Bearer"


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


def test_a_form_is_no_event(ada: User) -> None:
    may_publish(ada)
    multipart = "multipart/form-data; boundary=BoUnDaRyStRiNg"
    assert refused(post_as(ada, content_type=multipart), 400)


def test_too_much_is_refused(bearer: str) -> None:
    large = {"topic": "news", "data": "x" * 65_535}
    assert "at most 65536 bytes" in refused(post(large, bearer), 413)
    assert "at most 100 events" in refused(post([NEWS] * 101, bearer), 413)
    body = post([large] * 50, bearer)
    assert "expected a body of at most 2621440 bytes" in refused(body, 413)


def test_a_batch_with_one_bad_event_is_refused_whole(bearer: str) -> None:
    assert refused(post([NEWS, {"topic": "no topic", "data": 1}], bearer), 400)


def test_a_publisher_is_held_to_its_rate(bearer: str, settings: Settings) -> None:
    settings.FEED_PUBLISHES_PER_SECOND = 3
    other = make_token()[1]
    statuses = [post(NEWS, bearer).status_code for _ in range(20)]
    assert statuses[:3] == [201] * 3
    assert 429 in statuses
    response = post([NEWS] * 3, bearer)
    assert response.status_code == 429
    assert response["Retry-After"] == "1"
    assert "at most 3 events a second" in response.json()["detail"]
    assert post(NEWS, other).status_code == 201


def test_publishing_is_a_post(bearer: str) -> None:
    response = Client().get("/feed/publish")
    assert (response.status_code, response["Allow"]) == (405, "POST")
