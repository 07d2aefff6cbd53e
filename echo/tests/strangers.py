"""Adversarial texts, and every parser and pattern that clients' texts reach.

``python -m echo.tests.strangers patterns`` (or ``parsers``) tries them all, and prints
each name before its turn, so that the last one is the one that is slow.
"""

import ast
import logging
import os
import re
import resource
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from echo.tests.live import ROOT

# Half of what a request head may hold: enough to tell linear from quadratic.
LENGTH = 32 * 1024
CPU_SECONDS = 25
UNITS = [
    *("1", "0", "a", "A", ".", "-", " ", "\t", "=", ",", "{", "%", "/", "[", "<", "*"),
    *("1.", ".1", "1s", "1.1s", "1ms", "a.", "a-", "%2", "%F0", "a=&", "topic=a&"),
    *("aaaaaaaa-", "a,", "a:", "W/", '"', "é", "µ", "\n", "\r\n", "\x1b[", "\u2028"),
]
ENDS = ["", "x", "\0"]
ODD = [
    *("nan", "inf", "-1", "1e400", "1e9", "٣", "\ud800", "\0", "\x7f", "\xff", "0x1"),
    *(
        "a\ud800",
        "%ED%A0%80",
        "%00",
        "%",
        "since=%FF",
        "[::1",
        "http://[",
        "http://a:b",
    ),
]
METHODS = {"fullmatch", "match", "search", "findall", "finditer", "sub", "split"}


def pumped() -> Iterator[str]:
    """Return texts that repeat one thing, and end in a way that matches nothing."""
    for unit in UNITS:
        for end in ENDS:
            yield unit * (LENGTH // len(unit)) + end


# --- patterns --------------------------------------------------------------------------


def sources() -> list[Path]:
    files = [*ROOT.glob("echo/**/*.py"), *ROOT.glob("wsdemo/**/*.py")]
    return [path for path in files if not {"tests", "migrations"} & {*path.parts}]


def patterns() -> Iterator[tuple[str, re.Pattern[Any], str]]:
    """Return the site's regular expressions: their places, patterns and uses."""
    trees = {path: ast.parse(path.read_text()) for path in sources()}
    named = named_patterns(trees)
    used = set()
    for path, tree in trees.items():
        for node in ast.walk(tree):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            name = name_of_owner(node)
            if name in named:
                used.add(name)
                method = node.attr  # type: ignore[attr-defined]
                yield f"{place} {name}.{method}", named[name], method
            elif name == "re":
                method = node.attr  # type: ignore[attr-defined]
                yield f"{place} re.{method}", inline_pattern(tree, node), method
    for name in named.keys() - used:  # handed to a function
        yield name, named[name], "fullmatch"


def named_patterns(trees: dict[Path, ast.Module]) -> dict[str, re.Pattern[Any]]:
    """Return the compiled patterns of all modules."""
    paths = [path for path, tree in trees.items() if imports_re(tree)]
    modules = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    return {
        name: value
        for parts in modules
        for name, value in vars(import_module(".".join(parts))).items()
        if isinstance(value, re.Pattern)
    }


def imports_re(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Import) and any(name.name == "re" for name in node.names)
        for node in tree.body
    )


def name_of_owner(node: ast.AST) -> str:
    """``NUMBER`` in ``knobs.NUMBER.fullmatch``; "" for what matches nothing."""
    if not isinstance(node, ast.Attribute) or node.attr not in METHODS:
        return ""
    return getattr(node.value, "attr", getattr(node.value, "id", ""))


def inline_pattern(tree: ast.Module, function: ast.AST) -> re.Pattern[Any]:
    """The pattern in ``re.fullmatch("…", text)``."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    call = next(node for node in calls if node.func is function)
    assert isinstance(call.args[0], ast.Constant), "give the pattern a name"
    return re.compile(call.args[0].value)


def try_pattern(pattern: re.Pattern[Any], method: str) -> None:
    for text in pumped():
        subject = text if isinstance(pattern.pattern, str) else text.encode()
        first = [subject[:0]] if method == "sub" else []
        getattr(pattern, method)(*first, subject)


# --- parsers ---------------------------------------------------------------------------

Parser = Callable[[str], Any]


def parsers() -> dict[str, tuple[Parser, type[Exception]]]:
    """Return every parser of a client's text, and the one exception that it may raise."""
    from django.http import QueryDict
    from django.utils.datastructures import MultiValueDict

    from echo import handshake, knobs, messages, protocol
    from echo.admin.connections.query import (
        ConnectionQuery,
        InvalidQuery,
        parse_position,
    )
    from echo.admin.events.form import PublishForm, forms, parse_json
    from echo.client import escaping, options, output
    from echo.client.trace import WireTrace
    from echo.feed import event
    from echo.feed.publish import check_key
    from echo.management.commands import broadcast
    from echo.views import anything

    def query(text: str) -> bytes:
        return text.encode("latin-1", "ignore")

    def knob(name: str, text: str) -> None:
        decoded = text.encode(errors="replace").decode()  # a query's are strictly so
        knobs.parse_knob(knobs.PARSERS[name], name, decoded)

    def from_query(text: str) -> None:
        knobs.Knobs.from_query(query(text), max_message_size=1)

    def feed_query(text: str) -> None:
        protocol.FeedQuery.parse(query(text).decode("latin-1"))

    def describe(text: str) -> None:
        value = query(text)
        headers = [(b"host", value), (b"origin", value), (b"x", value)]
        scope = {"scheme": "ws", "path": "/", "query_string": value, "headers": headers}
        handshake.describe(scope | {"subprotocols": [], "client": None, "server": None})

    def form(text: str) -> None:
        fields = {"topic": text, "format": "json", "data": text, "key": text}
        PublishForm(fields).is_valid()

    def listed(text: str) -> None:
        names = ("q", "topic", "transport", "state", "node", "order", "after", "before")
        for name in names:
            given = QueryDict(mutable=True)
            given[name] = text
            ConnectionQuery.parse(given)

    origins = handshake.SameOrigin(None)
    table: dict[type[Exception], dict[str, Parser]] = {
        knobs.KnobError: {f"knob {name}": partial(knob, name) for name in knobs.PARSERS}
        | {"Knobs.from_query": from_query},
        protocol.FeedError: {
            "EventId.parse": protocol.EventId.parse,
            "check_topic": protocol.check_topic,
            "check_pattern": protocol.check_pattern,
            "parse_wait": protocol.parse_wait,
            "parse_topics": lambda text: protocol.parse_topics([text]),
            "FeedQuery.parse": feed_query,
            "FeedQuery.parse resume_from": lambda text: protocol.FeedQuery.parse(
                "", resume_from=text
            ),
            "check_key": check_key,
            "encode_data": event.encode_data,
            "encode_data of a key": lambda text: event.encode_data({text: [text]}),
        },
        ArgumentTypeError: {
            f"wsclient {name}": parser
            for name, parser in vars(options).items()
            if name.startswith("parse_") and parser.__module__ == options.__name__
        }
        | {"broadcast --rate": broadcast.positive_number},
        InvalidQuery: {"ConnectionQuery.parse": listed},
        forms.ValidationError: {"parse_json": parse_json},
        NeverRaised: {
            "parse_position": parse_position,
            "PublishForm": form,
            "same": lambda text: origins.same(text, text),
            "allowed": origins.allowed,
            "describe": describe,
            "log_received": messages.log_received,
            "escape": escaping.escape,
            "escape_json": escaping.escape_json,
            "trace": lambda text: [
                output.wire_lines(item)
                for item in WireTrace().feed(text.encode(errors="replace"))
            ],
            "as_json": lambda text: anything.as_json(text.encode(errors="replace")),
            "single_or_list": lambda text: anything.single_or_list(
                MultiValueDict({text: [text]}).lists()
            ),
        },
    }
    return {
        name: (parser, error)
        for error, rows in table.items()
        for name, parser in rows.items()
    }


class NeverRaised(Exception):
    """For parsers that take everything."""


def try_parser(parser: Parser, error: type[Exception]) -> None:
    """Print the parser's problem, indented."""
    for text in [*ODD, *pumped()]:
        try:
            parser(text)
        except error as problem:
            if len(str(problem)) > 1000:
                sys.stdout.write(f"  {text[:40]!r}: its error gives all of it back\n")
        except Exception as problem:  # noqa: BLE001 -- any other is a fault
            sys.stdout.write(f"  {text[:40]!r}: {problem!r:.200}\n")


def main(kind: str) -> None:
    if kind == "patterns":
        for name, pattern, method in patterns():
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
            try_pattern(pattern, method)
    for name, (parser, error) in parsers().items() if kind == "parsers" else ():
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
        try_parser(parser, error)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsdemo.settings")
    import django

    django.setup()
    # All of it takes a few seconds, on the process's own clock: a pattern that goes back over
    # what it has read takes minutes, and nothing but a signal interrupts it.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    logging.disable(logging.CRITICAL)
    main(sys.argv[1])
