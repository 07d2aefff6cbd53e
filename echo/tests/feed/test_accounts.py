"""Who a session cookie makes of a reader, and how little is asked for it."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.test import Client
from pytest_django import Settings

from echo.feed import Reader, find_reader, threads
from echo.feed.accounts import identify

pytestmark = pytest.mark.django_db(transaction=True)
KEYS_THAT_ARE_NONE = ["", "x", "\0", "a b", "é" * 32, "a" * 5000, '"\\000' + "a" * 31]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="first", is_staff=True)


@pytest.fixture
def key(ada: User) -> str:
    """The key of a session in which ada is signed in."""
    client = Client()
    client.force_login(ada)
    return str(client.cookies["sessionid"].value)


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The queries, each with whether it ran in the threads for accounts."""
    asked: list[Any] = []
    run = threads.DatabaseThreads.run

    async def counted(self: Any, function: Any, *arguments: Any) -> Any:
        asked.append((self is threads.accounts, arguments))
        return await run(self, function, *arguments)

    monkeypatch.setattr(threads.DatabaseThreads, "run", counted)
    return asked


async def read_as(cookie: str) -> Reader:
    return await find_reader([(b"host", b"x"), (b"cookie", cookie.encode("latin-1"))])


async def test_a_session_s_user_is_the_reader(ada: User, key: str) -> None:
    reader = await read_as(f"a=1; sessionid={key}; b=2")
    assert reader == Reader(str(ada.pk), is_staff=True, username="ada")
    assert reader.session_key == key
    assert key not in repr(reader)


async def test_cookies_in_several_fields_are_read_as_one(key: str) -> None:
    fields = [(b"cookie", b"a=1"), (b"cookie", f"sessionid={key}".encode())]
    assert (await find_reader(fields)).username == "ada"


async def test_nothing_is_asked_without_a_session_cookie(
    queries: list[Any], key: str
) -> None:
    assert await find_reader([]) == Reader()
    assert await read_as("csrftoken=x; theme=dark") == Reader()
    assert queries == []
    await read_as(f"sessionid={key}")
    assert queries == [(True, ([key],))]


@pytest.mark.parametrize("cookie", KEYS_THAT_ARE_NONE)
@pytest.mark.parametrize(
    "engine", ["db", "cache", "cached_db", "file", "signed_cookies"]
)
async def test_a_malformed_session_cookie_is_a_visitor_s(
    cookie: str, engine: str, settings: Settings
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    assert await read_as(f"sessionid={cookie}") == Reader()
    assert await read_as(f"sessionid={cookie}; ;;=;\x7f=\xff;") == Reader()


@pytest.mark.parametrize("engine", ["cache", "cached_db", "file", "signed_cookies"])
async def test_every_session_engine_is_honoured(
    engine: str, settings: Settings, ada: User
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    client = Client()
    await client.aforce_login(ada)
    cookie = client.cookies["sessionid"].value
    assert (await read_as(f"sessionid={cookie}")).username == "ada"


async def test_an_inactive_or_deleted_user_is_a_visitor(ada: User, key: str) -> None:
    await User.objects.filter(pk=ada.pk).aupdate(is_active=False)
    assert await read_as(f"sessionid={key}") == Reader()
    await User.objects.all().adelete()
    assert await read_as(f"sessionid={key}") == Reader()


async def test_an_expired_session_is_a_visitor_s(key: str) -> None:
    await Session.objects.aupdate(expire_date="2020-01-01T00:00Z")
    assert await read_as(f"sessionid={key}") == Reader()


async def test_a_changed_password_ends_the_session(ada: User, key: str) -> None:
    ada.set_password("second")
    await ada.asave()
    assert await read_as(f"sessionid={key}") == Reader()


async def test_a_session_made_with_a_fallback_secret_is_valid(
    key: str, settings: Settings
) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert (await read_as(f"sessionid={key}")).username == "ada"
    settings.SECRET_KEY_FALLBACKS = []
    assert await read_as(f"sessionid={key}") == Reader()


async def test_a_session_of_a_backend_that_is_no_longer_used_is_a_visitor_s(
    key: str, settings: Settings
) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.AllowAllUsersModelBackend"
    ]
    assert await read_as(f"sessionid={key}") == Reader()


async def test_a_failure_of_the_database_is_raised(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr("echo.feed.accounts.load_sessions", fail)
    with pytest.raises(DatabaseError):
        await read_as(f"sessionid={key}")


def test_many_sessions_take_two_queries(django_assert_num_queries: Any) -> None:
    keys = []
    for number in range(20):
        client = Client()
        client.force_login(User.objects.create_user(f"user{number}"))
        keys.append(client.cookies["sessionid"].value)
    with django_assert_num_queries(2):
        readers = identify([*keys, "no such session"])
    assert [readers[key].username for key in keys] == [f"user{n}" for n in range(20)]
    assert readers["no such session"] == Reader()
