"""Announces that an account has changed, so that its connections are judged at once.

Django's signals come here; the announcement goes out after COMMIT. One that is lost costs
FEED_JUDGE_SECONDS at most: see rights.py.
"""

import logging
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model, user_logged_out
from django.db import DatabaseError, transaction
from django.db.models.signals import post_delete, post_save

from echo.feed import doorbell, log
from echo.feed.accounts import session_account, session_model, user_account

logger = logging.getLogger("echo.feed")


def connect() -> None:
    """Connect to the signals of users and sessions."""
    users, sessions = get_user_model(), session_model()
    post_save.connect(user_saved, users, dispatch_uid="feed user saved")
    post_delete.connect(user_deleted, users, dispatch_uid="feed user deleted")
    user_logged_out.connect(logged_out, dispatch_uid="feed logged out")
    if sessions is not None:
        post_delete.connect(
            session_deleted, sessions, dispatch_uid="feed session deleted"
        )


def user_saved(
    instance: Any, created: bool, update_fields: Iterable[str] | None, **_: Any
) -> None:
    """Announce a user whose rights or password may have changed.

    Each sign-in saves the user too, but only its time.
    """
    if not created and set(update_fields or ["all"]) != {"last_login"}:
        announce(changed=[user_account(instance.pk)])


def user_deleted(instance: Any, **_: Any) -> None:
    """Announce a user who is deleted."""
    announce(changed=[user_account(instance.pk)])


def session_deleted(instance: Any, **_: Any) -> None:
    """Announce a session whose row is deleted."""
    announce(over=[session_account(instance.session_key)])


def logged_out(request: Any, **_: Any) -> None:
    """Announce a session before it is flushed: only a table's rows have a signal for that."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        announce(over=[session_account(key)])


def announce(changed: Iterable[str] = (), over: Iterable[str] = ()) -> None:
    """Announce accounts that changed and sessions that are over, once this is committed."""
    accounts = list(changed), list(over)
    transaction.on_commit(lambda: ring(*accounts))


def ring(changed: list[str], over: list[str]) -> None:
    """Ring for accounts; where the database fails, this process's own nodes have it."""
    try:
        doorbell.ring_changes(lambda: log.head().epoch, changed, over)
    except DatabaseError as error:
        logger.warning("other nodes are not told of a changed account: %r", error)
