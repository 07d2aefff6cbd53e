"""The bounds of experiments: how many run at once, and which settings are accepted."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
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

    def __init__(self, limit: int, per_address: int | None = None) -> None:
        self.limit = limit  # how many may run at once
        # How many of one client address: fewer, so that one visitor leaves some for others.
        self.per_address = limit if per_address is None else per_address
        self.running = 0  # how many do
        self.by_address: Counter[str] = Counter()  # of these, by client address

    @contextmanager
    def slot(self, address: str = "") -> Iterator[None]:
        """Count an experiment while the block lasts. Raises LabError 429 at a limit."""
        if self.running >= self.limit:
            raise LabError(
                _(
                    "expected at most %(limit)s of these experiments at once, and as many "
                    "run already: try again in a few seconds"
                )
                % {"limit": self.limit},
                429,
            )
        if self.by_address[address] >= self.per_address and not is_loopback(address):
            raise LabError(
                _(
                    "expected at most %(limit)s of these experiments at once from one "
                    "address: wait for yours to end"
                )
                % {"limit": self.per_address},
                429,
            )
        self.running += 1
        self.by_address[address] += 1
        try:
            yield
        finally:
            self.running -= 1
            self.by_address[address] -= 1
            if not self.by_address[address]:
                del self.by_address[address]


def is_loopback(address: str) -> bool:
    """Return True for this machine, and for a proxy on it that hides its clients' addresses."""
    try:
        return ip_address(address).is_loopback
    except ValueError:  # a Unix socket has no address
        return True


def address_of(scope: Any) -> str:
    """Return the client's address, or "" on a Unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


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
