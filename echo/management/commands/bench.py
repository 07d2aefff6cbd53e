"""``manage.py bench``: puts the benchmark's load on a server, and checks what comes back."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from websockets.uri import WebSocketURI

from echo.client.options import parse_url
from echo.load.errors import LoadError, Unavailable
from echo.load.fallback import PythonLoad
from echo.load.generator import Load, url_of
from echo.load.measures import measure_echo, measure_feed
from echo.protocol import (
    DEFAULT_TOPIC,
    MAX_DATA_BYTES,
    MAX_PUBLISHED_AT_ONCE,
    FeedError,
    check_topic,
)

BAR_CHARACTERS = 30
MAX_CONNECTIONS = 50_000
MAX_EVENTS = 1_000_000
MAX_SECONDS = 3600
MAX_MESSAGE_BYTES = 1024 * 1024
USAGE = 2  # the exit code
# Each measurement, and its options.
MEASURES: dict[str, tuple[Callable[..., Iterator[str]], tuple[str, ...]]] = {
    "echo": (measure_echo, ("clients", "size", "seconds")),
    "feed": (
        measure_feed,
        ("token", "topic", "readers", "events", "at_once", "size"),
    ),
}


class Command(BaseCommand):
    help = (
        "Measure a server: how many messages an echo gives back, or how fast a feed "
        "delivers events. Exit code 1 when something is missing, doubled, changed or out "
        "of order, 2 for wrong usage."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
        echo = kinds.add_parser("echo", help="send messages, and compare each echo")
        feed = kinds.add_parser("feed", help="publish events, and compare what is read")
        add_echo_arguments(echo)
        add_feed_arguments(feed)

    def handle(self, *, kind: str, url: WebSocketURI, **options: Any) -> None:
        if kind == "feed" and not options["token"]:
            raise CommandError(
                "expected --token, which may publish: make one in the admin, under Tokens",
                returncode=USAGE,
            )
        measure, names = MEASURES[kind]
        chosen = {name: options[name] for name in names}
        try:
            with self.make_load(url) as load:
                self.print_lines(measure(load, url, self.show_progress, **chosen))
        except LoadError as error:
            self.clear_progress()
            raise CommandError(f"{url_of(url)}: {error}") from None

    def make_load(self, uri: WebSocketURI) -> Load | PythonLoad:
        """Return the load generator in C; Python's, with the reason, where it cannot run."""
        if uri.secure:
            reason = "the one in C speaks no TLS"
        else:
            try:
                return Load(Path(settings.VAR_DIR))
            except Unavailable as error:
                reason = str(error)
        self.stderr.write(f"Python is the load generator, and slower: {reason}")
        return PythonLoad()

    def print_lines(self, lines: Iterator[str]) -> None:
        """Print the report as it comes, in place of the progress bar."""
        for line in lines:
            self.clear_progress()
            self.stdout.write(line)
            self.stdout.flush()

    def show_progress(self, share: float) -> None:
        """Show a bar on a terminal."""
        if self.stderr.isatty():
            done = round(share * BAR_CHARACTERS)
            bar = "█" * done + "·" * (BAR_CHARACTERS - done)
            self.stderr.write(f"\r{bar} {share:4.0%}", style_func=str, ending="")
            self.stderr.flush()

    def clear_progress(self) -> None:
        if self.stderr.isatty():
            blank = " " * (BAR_CHARACTERS + 5)
            self.stderr.write(f"\r{blank}\r", style_func=str, ending="")
            self.stderr.flush()


def add_echo_arguments(parser: ArgumentParser) -> None:
    add_url(parser, "ws://localhost:8000/echo")
    add_number(parser, "--clients", 1, MAX_CONNECTIONS, 50, "connections")
    add_number(parser, "--size", 0, MAX_MESSAGE_BYTES, 64, "bytes in each message")
    add_number(parser, "--seconds", 1, MAX_SECONDS, 5, "length of the measurement")


def add_feed_arguments(parser: ArgumentParser) -> None:
    add_url(parser, "ws://localhost:8000/feed/ws")
    parser.add_argument(
        "--token", default="", help="may publish to the topic; made in the admin"
    )
    parser.add_argument(
        "--topic",
        default=DEFAULT_TOPIC,
        type=one_topic,
        help="the topic, to which nobody else must publish (default: %(default)s)",
    )
    add_number(parser, "--readers", 1, MAX_CONNECTIONS, 1000, "connections")
    add_number(parser, "--events", 1, MAX_EVENTS, 50, "events that are published")
    add_number(
        parser, "--at-once", 1, MAX_PUBLISHED_AT_ONCE, 10, "events in one request"
    )
    add_number(parser, "--size", 0, MAX_DATA_BYTES // 2, 64, "bytes of text in each")


def add_url(parser: ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--url",
        type=parse_url,
        default=default,
        help="the server's WebSocket (default: %(default)s)",
    )


def add_number(
    parser: ArgumentParser, name: str, least: int, most: int, default: int, text: str
) -> None:
    parser.add_argument(
        name,
        type=number(least, most),
        default=default,
        metavar="N",
        help=f"{text}, {least} to {most} (default: %(default)s)",
    )


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in a range."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ArgumentTypeError(
                f"expected a whole number from {least} to {most}, got {text[:60]!r}"
            )
        return int(text)

    return parse


def one_topic(text: str) -> str:
    try:
        return check_topic(text)
    except FeedError as error:
        raise ArgumentTypeError(str(error)) from None
