"""The bounds of experiments: how many run at once, and which settings are accepted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.utils.translation import gettext as _

from echo.protocol import quoted


class LabError(Exception):
    """An experiment that is refused; says expected, got and remedy in the visitor's language."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status  # the HTTP status of the refusal


class Slots:
    """Counts the experiments of one kind that run in this process."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # how many may run at once
        self.running = 0  # how many do

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Count an experiment while the block lasts. Raises LabError 429 at the limit."""
        if self.running >= self.limit:
            raise LabError(
                _(
                    "expected at most %(limit)s of these experiments at once, and as many "
                    "run already: try again in a few seconds"
                )
                % {"limit": self.limit},
                429,
            )
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


def whole_number(
    settings: Mapping[str, Any], name: str, lowest: int, highest: int, default: int
) -> int:
    """Return a setting that is a whole number, both bounds included. Raises LabError."""
    value = settings.get(name, default)
    if type(value) is not int or not lowest <= value <= highest:
        raise out_of_range(name, lowest, highest, value)
    return value


def number(
    settings: Mapping[str, Any],
    name: str,
    lowest: float,
    highest: float,
    default: float,
) -> float:
    """Return a setting that is a number, both bounds included. Raises LabError."""
    value = settings.get(name, default)
    # NaN is in no range.
    if type(value) not in (int, float) or not lowest <= value <= highest:
        raise out_of_range(name, lowest, highest, value)
    return float(value)


def out_of_range(name: str, lowest: float, highest: float, got: Any) -> LabError:
    shown = f"{got:g}" if type(got) in (int, float) and abs(got) < 1e12 else quoted(got)
    return LabError(
        _("%(name)s: expected a number from %(lowest)s to %(highest)s, got %(got)s")
        % {
            "name": name,
            "lowest": f"{lowest:g}",
            "highest": f"{highest:g}",
            "got": shown,
        }
    )


def one_of(
    settings: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str
) -> str:
    """Return a setting that is one of a few words. Raises LabError."""
    value = settings.get(name, default)
    if value not in choices:
        raise LabError(
            _("%(name)s: expected one of %(choices)s, got %(got)s")
            % {"name": name, "choices": ", ".join(choices), "got": quoted(value)}
        )
    return value
