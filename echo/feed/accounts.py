"""Finds who reads: the user whose session a request's cookie names.

Asks the database only where there is such a cookie, in the threads for accounts. For
connections that stay open, rights.py asks here again, many sessions at a time.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.core.exceptions import ValidationError
from django.http.cookie import parse_cookie
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from echo.feed import threads
from echo.feed.access import Reader

SessionData = Mapping[str, Any]


async def find_reader(headers: Iterable[tuple[bytes, bytes]]) -> Reader:
    """Return the reader whose session a request's headers name; a visitor for none.

    Raises django.db.DatabaseError when the database does not answer.
    """
    key = session_key(headers)
    if key is None:
        return Reader()
    readers: dict[str, Reader] = await threads.accounts.run(identify, [key])
    return readers[key]


# --- the names of accounts --------------------------------------------------------------


def user_account(user_id: object) -> str:
    """Return the name under which a user's connections are found."""
    return f"user {user_id}"


def session_account(key: str) -> str:
    """Return the name under which a session's connections are found; the key stays secret."""
    return f"session {hashlib.sha256(key.encode()).hexdigest()}"


def accounts_of(reader: Reader) -> tuple[str, ...]:
    """Return the user and the session that a reader's rights rest on; none for a visitor."""
    if reader.user_id is None or reader.session_key is None:
        return ()
    return user_account(reader.user_id), session_account(reader.session_key)


# --- sessions and users -----------------------------------------------------------------


def session_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the session key in a request's cookies; None for none or a malformed one."""
    # HTTP/2 splits the cookies over several fields (RFC 9113 section 8.2.3).
    cookies = b"; ".join([value for name, value in headers if name == b"cookie"])
    key = parse_cookie(cookies.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
    # PostgreSQL refuses NUL in a text with an exception.
    return key if key and key.isascii() and key.isprintable() else None


def identify(keys: Collection[str]) -> dict[str, Reader]:
    """Return the reader for each session key: a visitor for a session that is not valid.

    Decides as django.contrib.auth.get_user does, but writes nothing: it neither flushes a
    session whose hash is wrong nor renews one whose hash is of a fallback secret.
    """
    sessions = load_sessions(keys)
    users = load_users(sessions.values())
    return {
        key: judge(key, sessions.get(key, {}), users)
        for key in keys  # a session that has gone is a visitor's
    }


def judge(key: str, session: SessionData, users: Mapping[Any, Any]) -> Reader:
    """Return the reader that a session's data and the loaded users make."""
    user = users.get(claim(session))
    if user is None or not has_valid_hash(session, user):
        return Reader()
    return Reader.of(user, session_key=key)


def has_valid_hash(session: SessionData, user: Any) -> bool:
    """Return whether the session was made with the user's present password."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    given = session.get(HASH_SESSION_KEY) or ""
    return constant_time_compare(given, user.get_session_auth_hash()) or any(
        constant_time_compare(given, fallback)
        for fallback in user.get_session_auth_fallback_hash()
    )


def claim(session: SessionData) -> tuple[str, str] | None:
    """Return the backend and the user id that a session names; None for a visitor's."""
    backend, user_id = session.get(BACKEND_SESSION_KEY), session.get(SESSION_KEY)
    if user_id is None or backend not in settings.AUTHENTICATION_BACKENDS:
        return None
    return str(backend), str(user_id)


def load_users(sessions: Iterable[SessionData]) -> dict[tuple[str, str], Any]:
    """Return the active users by what their sessions claim, one query for each backend."""
    ids: dict[str, set[str]] = defaultdict(set)
    for session in sessions:
        if (claimed := claim(session)) is not None:
            ids[claimed[0]].add(claimed[1])
    found = {}
    for backend, user_ids in ids.items():
        for user_id, user in ask_backend(load_backend(backend), user_ids).items():
            found[backend, user_id] = user
    return found


def ask_backend(backend: Any, user_ids: Iterable[str]) -> dict[str, Any]:
    """Return the backend's users who may sign in; ModelBackend's with one query."""
    model = get_user_model()
    pks = {}
    for user_id in user_ids:
        try:
            pks[model._meta.pk.to_python(user_id)] = user_id
        except ValidationError:  # a session of another user model
            continue
    if getattr(type(backend), "get_user", None) is not ModelBackend.get_user:
        users = {pk: backend.get_user(pk) for pk in pks}
    else:
        stored = model._default_manager.in_bulk(pks)
        users = {
            pk: user
            for pk, user in stored.items()
            if backend.user_can_authenticate(user)
        }
    return {pks[pk]: user for pk, user in users.items() if user is not None}


def load_sessions(keys: Collection[str]) -> dict[str, SessionData]:
    """Return the data of the sessions that exist; one query where a table holds them."""
    store = session_store()
    model = session_model()
    if model is None:
        return {key: store(key).load() for key in keys}
    # A table's row is the truth for the engine that caches it, too.
    rows = model._default_manager.filter(
        session_key__in=keys, expire_date__gt=timezone.now()
    )
    decode = store().decode
    return {
        key: decode(data)
        for key, data in rows.values_list("session_key", "session_data")
    }


def session_store() -> Any:
    """Return the class of the site's sessions."""
    return import_module(settings.SESSION_ENGINE).SessionStore


def session_model() -> Any:
    """Return the model whose table holds the sessions; None where none does."""
    store = session_store()
    return store.get_model_class() if issubclass(store, DatabaseStore) else None
