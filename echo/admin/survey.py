"""Asks all nodes from the admin's views, which are synchronous; says what was not heard."""

from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.utils.translation import gettext as _

from echo import feed
from echo.feed import Question

Result = TypeVar("Result")


def ask(question: Question[Any, Result]) -> feed.Survey[Result]:
    """Ask all nodes a question, on the event loop that the server runs on."""
    survey: feed.Survey[Result] = async_to_sync(feed.survey)(question)
    return survey


def unheard(answer: feed.Survey[Any]) -> list[str]:
    """Why an answer is not the whole truth, in words; nothing if it is."""
    words = []
    if answer.unresponsive:
        text = _("Did not answer in time, so not counted: %(nodes)s")
        words.append(text % {"nodes": ", ".join(answer.unresponsive)})
    if answer.is_degraded:
        text = _("The channel layer is down: only this node's connections are known.")
        words.append(text)
    if answer.is_isolated:
        words.append(this_process_only())
    return words


def this_process_only() -> str:
    return _(
        "This process only: the channel layer is in memory, and reaches none of the "
        "site's other processes. Set REDIS_URL."
    )


def at_least(count: int, answer: feed.Survey[Any]) -> int | str:
    """The count, as what it is: there may be more where a node was not heard."""
    return f"≥ {count}" if unheard(answer) else count
