"""Asks all nodes from the admin's views, which are synchronous; says what was not heard."""

from typing import Any

from asgiref.sync import async_to_sync
from django.utils.translation import gettext as _

from echo import feed


def ask(question: Any) -> dict[str, Any]:
    """All nodes' answer, on the event loop that the server runs on."""
    answer: dict[str, Any] = async_to_sync(feed.ask)(question)
    return answer


def unheard(answer: dict[str, Any]) -> list[str]:
    """Why an answer is not the whole truth, in words; nothing if it is."""
    words = []
    if answer["silent"]:
        text = _("Did not answer in time, so not counted: %(nodes)s")
        words.append(text % {"nodes": ", ".join(answer["silent"])})
    if answer.get("alone"):
        text = _("The channel layer is down: only this node's connections are known.")
        words.append(text)
    if answer.get("isolated"):
        words.append(this_process_only())
    return words


def this_process_only() -> str:
    return _(
        "This process only: the channel layer is in memory, and reaches none of the "
        "site's other processes. Set REDIS_URL."
    )


def at_least(count: int, answer: dict[str, Any]) -> int | str:
    """The count, as what it is: there may be more where a node was not heard."""
    return f"≥ {count}" if unheard(answer) else count
