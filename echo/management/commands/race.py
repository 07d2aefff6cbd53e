"""``manage.py race``: the race of the page Transports, from the shell."""

import asyncio
import json
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from django.core.management.base import BaseCommand, CommandError

from echo.lab import race
from echo.lab.racer import heads
from echo.lab.racer.errors import RaceError
from echo.lab.racer.run import Figures, Result, run

# As a shell reports a command that Ctrl-C has ended.
INTERRUPTED = 130
COLUMNS = (
    "lane",
    "events",
    "lost",
    "requests",
    "sent",
    "received",
    "bytes/event",
    "p50 ms",
    "p95 ms",
)


class Command(BaseCommand):
    help = (
        "Race the four transports of the feed and a stock Channels consumer: the same events "
        "on all five, on raw sockets, with every byte of HTTP and WebSocket counted."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add(
            "--url",
            default="http://127.0.0.1:8000",
            help="where the site is (default: %(default)s)",
        )
        add(
            "--events",
            type=int,
            help=f"how many, 1 to {race.MAX_EVENTS} (default: {race.DEFAULT_EVENTS}; sparse: "
            f"{race.MAX_SPARSE_EVENTS}, its most)",
        )
        add(
            "--rate",
            type=float,
            default=race.DEFAULT_RATE,
            help=f"events a second, {race.LOWEST_RATE:g} to {race.HIGHEST_RATE:g} "
            "(default: %(default)g)",
        )
        add(
            "--size",
            type=int,
            default=race.DEFAULT_SIZE,
            help=f"bytes of an event's data, {race.LOWEST_SIZE} to {race.HIGHEST_SIZE} "
            "(default: %(default)s)",
        )
        add(
            "--scenario",
            default="steady",
            help="steady; sparse: an event every 10 s; burst: all at once; cut: all lanes "
            "are cut for 3 s in the middle; slow: 250 ms each way and 16 KiB/s (default: "
            "%(default)s)",
        )
        add("--json", action="store_true", help="print an object (default: a table)")
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            "--bare",
            action="store_true",
            help="send the smallest heads (default: those of a browser)",
        )
        group.add_argument(
            "--user-agent",
            default=heads.USER_AGENT,
            help="send the heads of this browser (default: %(default)s)",
        )
        add(
            "--sec-ch-ua",
            default=heads.BRANDS,
            help="send its client hints with these brands; empty: none (default: %(default)s)",
        )
        add(
            "--accept-language",
            default="",
            help="send this header with them (default: none)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        settings = settings_of(**options)
        try:
            site = heads.Site.of(options["url"])
            browser = heads.Browser(
                site,
                referer=page_address(site, settings),
                user_agent=options["user_agent"],
                brands=options["sec_ch_ua"],
                accept_language=options["accept_language"],
                is_bare=options["bare"],
            )
            result = asyncio.run(run(browser, settings))
        except KeyboardInterrupt:
            raise CommandError(
                "interrupted: the site has stopped the race", returncode=INTERRUPTED
            ) from None
        except RaceError as error:
            raise CommandError(str(error), returncode=error.exit_code) from None
        if options["json"]:
            lanes = {name: asdict(lane) for name, lane in result.lanes.items()}
            self.stdout.write(json.dumps(lanes, indent=2))
        else:
            for line in table(result):
                self.stdout.write(line)


def settings_of(
    events: int | None, rate: float, size: int, scenario: str, **options: Any
) -> dict[str, Any]:
    if events is None:
        sparse = scenario == "sparse"
        events = race.MAX_SPARSE_EVENTS if sparse else race.DEFAULT_EVENTS
    return {"events": events, "rate": rate, "size": size, "scenario": scenario}


def page_address(site: heads.Site, settings: dict[str, Any]) -> str:
    """Return the address of the page with these settings, as its script writes it."""
    defaults = {
        "events": race.DEFAULT_EVENTS,
        "rate": race.DEFAULT_RATE,
        "size": race.DEFAULT_SIZE,
        "scenario": "steady",
    }
    given = {
        name: f"{value:g}" if isinstance(value, float) else value
        for name, value in settings.items()
        if value != defaults[name]
    }
    query = f"?{urlencode(given)}" if given else ""
    return f"{site.origin}{site.root}/transports/{query}"


def table(result: Result) -> Iterator[str]:
    """Yield the lines of a table of the lanes, and of what is behind it."""
    rows = [COLUMNS, *(row(name, lane) for name, lane in result.lanes.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        shown = [
            cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)
        ]
        yield "  ".join([name.ljust(widths[0]), *shown])
    yield ""
    yield (
        f"{result.race['events']} events of {result.race['size']} bytes, "
        f"{result.race['scenario']}. sent and received: bytes of HTTP and WebSocket, heads "
        "and framing included,"
    )
    yield (
        "TCP, IP and TLS not. Delays: from publish to the client; the clocks are "
        f"{result.offset_ms:+.1f} ms ± {result.uncertainty_ms:.1f} ms apart, taken out."
    )


def row(name: str, lane: Figures) -> tuple[str, ...]:
    total = lane.bytes_sent + lane.bytes_received
    return (
        name,
        str(lane.events),
        str(lane.lost),
        str(lane.requests),
        f"{lane.bytes_sent:,}",
        f"{lane.bytes_received:,}",
        f"{total / lane.events:,.0f}" if lane.events else "–",
        f"{lane.p50_ms:,.1f}",
        f"{lane.p95_ms:,.1f}",
    )
