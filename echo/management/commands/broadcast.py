"""``manage.py broadcast``: publishes events from the shell."""

import json
import math
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from echo.feed import publish
from echo.models import Event
from echo.protocol import DEFAULT_TOPIC, FeedError

BAR_CHARACTERS = 30


class Command(BaseCommand):
    help = (
        "Publish an event; with - as TEXT, one event for each line of standard input."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "text", metavar="TEXT", help="the event's data, or - for stdin"
        )
        parser.add_argument(
            "--topic",
            "-t",
            default=DEFAULT_TOPIC,
            help="the topic (default: %(default)s)",
        )
        parser.add_argument(
            "--json", action="store_true", help="TEXT is JSON (default: it is a string)"
        )
        parser.add_argument(
            "--key",
            help="makes a retry harmless: the same key, the same event (default: none)",
        )
        parser.add_argument(
            "--rate",
            type=positive_number,
            help="at most so many events a second from stdin (default: as fast as can be)",
        )

    def handle(
        self,
        *,
        text: str,
        topic: str,
        key: str | None,
        rate: float | None,
        **options: Any,
    ) -> None:
        as_json = options["json"]
        if text != "-":
            self.stdout.write(self.publish(topic, text, as_json, key))
            return
        if key is not None:
            raise CommandError("--key names one event: leave it out with -")
        count = 0
        for count, line in enumerate(self.paced(lines(), rate), 1):
            self.publish(topic, line, as_json, None)
            self.show_progress(count)
        self.stderr.write(f"{count} events published to {topic}")

    def publish(self, topic: str, text: str, as_json: bool, key: str | None) -> str:
        """Publish one event; return its id, marked if the key is a duplicate."""
        try:
            data = json.loads(text) if as_json else text
            done = publish(topic, data, key=key, source=Event.Source.COMMAND)
        except FeedError as error:
            raise CommandError(str(error)) from None
        # Invalid JSON, or a number too long or a nesting too deep for Python.
        except (ValueError, RecursionError) as error:
            raise CommandError(f"expected JSON, got {text[:60]!r}: {error}") from None
        except DatabaseError as error:
            raise CommandError(
                f"cannot write to the log: {error}. Is DATABASE_URL that of the site, "
                "and has `manage.py migrate` been run?"
            ) from None
        return f"{done.id} (duplicate)" if done.duplicate else done.id

    def paced(self, texts: Iterable[str], rate: float | None) -> Iterator[str]:
        """Yield the texts at the rate, measured from the first one; None: at once."""
        begun = time.monotonic()
        for number, text in enumerate(texts):
            if rate and (wait := begun + number / rate - time.monotonic()) > 0:
                time.sleep(wait)
            yield text

    def show_progress(self, count: int) -> None:
        """Show a moving bar on a terminal; the total number of events is unknown."""
        if self.stderr.isatty() and count % 10 == 0:
            place = count // 10 % BAR_CHARACTERS
            bar = "·" * place + "█" + "·" * (BAR_CHARACTERS - place - 1)
            self.stderr.write(f"\r{bar} {count}", ending="")
            self.stderr.flush()


def lines() -> Iterator[str]:
    """Yield standard input's lines without their ends, as they arrive."""
    try:
        for line in sys.stdin:
            yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise CommandError(f"expected UTF-8 from stdin: {error}") from None


def positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"expected a number above 0, got {text[:60]!r}")
    return number
