"""Runs surveys of the nodes for the admin's views, and words what their results lack.

The views are synchronous; the nodes answer on the event loop that the server runs on.
"""

from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.utils.translation import gettext as _

from echo import feed
from echo.feed import cluster

Result = TypeVar("Result")


def survey(question: cluster.Question[Any, Result]) -> cluster.Survey[Result]:
    """Return the merged answers of all nodes to a question."""
    merged: cluster.Survey[Result] = async_to_sync(feed.survey)(question)
    return merged


def count_readers(topics: list[str]) -> cluster.Survey[dict[str, int]]:
    """Return how many connections read each topic now."""
    return survey(cluster.CountReaders(tuple(topics)))


def caveats(survey: cluster.Survey[Any]) -> list[str]:
    """Return why a survey is incomplete, as texts; an empty list if it is complete."""
    texts = []
    if survey.unresponsive:
        text = _("Not counted, because they did not answer in time: %(nodes)s")
        texts.append(text % {"nodes": ", ".join(survey.unresponsive)})
    if survey.is_degraded:
        text = _("The channel layer is down: only this node's connections are known.")
        texts.append(text)
    if survey.is_isolated:
        texts.append(isolation_text())
    return texts


def isolation_text() -> str:
    """Return the caveat of a channel layer in memory beside other processes."""
    return _(
        "This process only: the channel layer is in memory and does not reach the "
        "site's other processes. Set REDIS_URL."
    )


def at_least(count: int, survey: cluster.Survey[Any]) -> int | str:
    """Return the count, marked with ≥ if the survey is incomplete."""
    return f"≥ {count}" if caveats(survey) else count
