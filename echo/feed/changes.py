"""Tells every node that an account has changed, so that its connections are judged at once.

Django's signals say so after each COMMIT. A message that is lost costs FEED_JUDGE_SECONDS at
most: see rights.py.
"""

import logging
from collections.abc import Iterable
from typing import Any

from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model, user_logged_out
from django.db import DatabaseError, transaction
from django.db.models.signals import post_delete, post_save

from echo.feed import local, log, nodes
from echo.feed.accounts import session_model
from echo.feed.publish import ring_nodes
from echo.feed.rights import session_account, user_account

logger = logging.getLogger("echo.feed")


def connect() -> None:
    """Listen to the signals of users and sessions."""
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
    """Judge a user whose rights or password may be others; each sign-in saves the user too."""
    if not created and set(update_fields or ["all"]) != {"last_login"}:
        announce(changed=[user_account(instance.pk)])


def user_deleted(instance: Any, **_: Any) -> None:
    announce(changed=[user_account(instance.pk)])


def session_deleted(instance: Any, **_: Any) -> None:
    announce(over=[session_account(instance.session_key)])


def logged_out(request: Any, **_: Any) -> None:
    """End a session before it is flushed: only a table's rows have a signal for that."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        announce(over=[session_account(key)])


def announce(changed: Iterable[str] = (), over: Iterable[str] = ()) -> None:
    """Tell all nodes, once the transaction has committed, of accounts that changed or ended."""
    accounts = {"changed": list(changed), "over": list(over)}
    transaction.on_commit(lambda: tell(accounts))


def tell(accounts: dict[str, list[str]]) -> None:
    """Tell this process's relays, and every other node over the channel layer."""
    local.everywhere(lambda relay: relay.rights.take(**accounts))
    if not nodes.carries(get_channel_layer()):
        return
    try:
        ring_nodes(log.head().epoch, {"type": "feed.judge", **accounts})
    except DatabaseError as error:
        logger.warning("other nodes are not told of a changed account: %r", error)
