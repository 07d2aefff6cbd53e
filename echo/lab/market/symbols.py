"""Finds the symbols that the page offers."""

from echo.lab.market.trade import DEFAULT_SYMBOLS, SYMBOL, TOPIC
from echo.models import Topic

MAX_OFFERED = 50


def list_symbols() -> list[str]:
    """Return the symbols that have trades in the log, or else those that visitors get."""
    prefix = f"{TOPIC}."
    # SQLite's LIKE ignores case: `fullmatch` judges again.
    names = Topic.objects.filter(name__startswith=prefix, kept__gt=0)
    topics = names.values_list("name", flat=True)[: 2 * MAX_OFFERED]
    found = [topic.removeprefix(prefix) for topic in topics if topic.startswith(prefix)]
    return [symbol for symbol in found if SYMBOL.fullmatch(symbol)][
        :MAX_OFFERED
    ] or list(DEFAULT_SYMBOLS)
