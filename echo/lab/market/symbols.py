"""Finds the symbols that the page offers."""

from echo.lab.market.trade import DEFAULT_SYMBOLS, SYMBOL, TOPIC
from echo.models import Topic

MAX_OFFERED = 50


def list_symbols() -> list[str]:
    """Return the symbols that have trades in the log, and then those that visitors get.

    The visitors' own come first of each, so that the page begins with the same one.
    """
    prefix = f"{TOPIC}."
    kept = Topic.objects.filter(name__startswith=prefix, kept__gt=0).order_by("name")
    topics = kept.values_list("name", flat=True)[:MAX_OFFERED]
    # SQLite's LIKE ignores case, which `removeprefix` and `fullmatch` do not.
    traded = [
        name for topic in topics if SYMBOL.fullmatch(name := topic.removeprefix(prefix))
    ]
    own = [symbol for symbol in DEFAULT_SYMBOLS if symbol in traded]
    return list(dict.fromkeys([*own, *traded, *DEFAULT_SYMBOLS]))
