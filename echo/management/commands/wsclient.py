"""``manage.py wsclient``: gorilla's client, with the options of wscat and websocat."""

import asyncio
import os
import sys
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from contextlib import AsyncExitStack
from io import TextIOWrapper
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
    OutputWrapper,
)

from echo.client import options as values
from echo.client.errors import ClientError, ExitCode
from echo.client.output import JsonOutput, Output, PlainOutput
from echo.client.session import Session
from echo.client.sources import (
    Chain,
    Clock,
    Form,
    Lines,
    Listed,
    Prompt,
    Source,
    encode,
)

STDIN = 0
EXIT_CODES = """\
Exit codes: 0 a clean end, 1 cannot connect or refused, 2 wrong usage, 3 closed
abnormally (no close frame, or a code other than 1000, 1001 or none), 4 timeout."""


class OutputClosed(Exception):
    """The reader of the output has gone, as after ``| head``."""


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps Django's order of options, and the lines of the exit codes."""


class Command(BaseCommand):
    help = (
        "A WebSocket client. With no options it is gorilla/websocket's client.go: it "
        "sends the time every second and prints what comes back, until Ctrl-C."
    )
    requires_system_checks: list[str] = []

    def create_parser(self, *args: Any, **options: Any) -> CommandParser:
        parser = super().create_parser(
            *args, epilog=EXIT_CODES, formatter_class=HelpFormatter, **options
        )
        # The default takes all positionals from one place: `URL -x hi -` fails.
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "url",
            nargs="*",
            metavar="URL | -",
            help="where to connect: a ws://, wss://, http:// or https:// URL or "
            "host:port/path (default: ws://ADDR/echo); - sends each line of standard "
            "input as a message",
        )
        self.add_connection_arguments(parser)
        self.add_message_arguments(parser)
        self.add_output_arguments(parser)

    def add_connection_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument_group("connection").add_argument
        add(
            "--addr",
            default=values.DEFAULT_ADDRESS,
            help="host:port of the server, when there is no URL (default: %(default)s)",
        )
        add(
            "-H",
            "--header",
            action="append",
            default=[],
            type=values.parse_header,
            metavar="'NAME: VALUE'",
            help="send this header with the handshake; repeatable (default: none)",
        )
        add(
            "-o",
            "--origin",
            type=values.parse_origin,
            help="send this Origin header (default: none)",
        )
        add(
            "-s",
            "--subprotocol",
            action="append",
            default=[],
            type=values.parse_subprotocol,
            help="offer this subprotocol; repeatable, best one first (default: none)",
        )
        add(
            "-k",
            "--insecure",
            action="store_true",
            help="accept any TLS certificate (default: only a trusted one)",
        )
        add(
            "--timeout",
            type=values.parse_positive_duration,
            default=values.DEFAULT_TIMEOUT_SECONDS,
            metavar="DURATION",
            help="how long to wait for the connection, for each reply and for the close "
            "(default: %(default)g s)",
        )
        add(
            "--reconnect",
            action="store_true",
            help="connect again after a lost connection, after up to 0.5 s at first and "
            "up to 20 s at last (default: end)",
        )
        add(
            "--close-code",
            type=values.parse_close_code,
            default=1000,
            metavar="CODE",
            help="close with this code (default: %(default)s)",
        )
        add(
            "--close-reason",
            type=values.parse_close_reason,
            default="",
            metavar="TEXT",
            help="close with this reason (default: none)",
        )

    def add_message_arguments(self, parser: CommandParser) -> None:
        group = parser.add_argument_group("messages")
        add = group.add_argument
        add(
            "-x",
            "--execute",
            action="append",
            default=[],
            metavar="MESSAGE",
            help="send this message, wait for the reply, and end; repeatable "
            "(default: send the time)",
        )
        add(
            "-w",
            "--wait",
            type=values.parse_duration,
            metavar="DURATION",
            help="end this long after the last message was sent, whatever has come back "
            "(default: when every reply has come)",
        )
        add(
            "-i",
            "--interactive",
            action="store_true",
            help="send what is typed at a prompt; Ctrl-D ends (default: no prompt)",
        )
        add(
            "--count",
            type=values.parse_count,
            metavar="N",
            help="send the time this often, or the messages of -x this many times over "
            "(default: the time without end, the messages once)",
        )
        add(
            "--interval",
            type=values.parse_duration,
            metavar="DURATION",
            help="from one message to the next (default: 1s for the time, else 0s)",
        )
        add(
            "-b",
            "--binary",
            action="store_true",
            help="send binary messages (default: text)",
        )
        coding = group.add_mutually_exclusive_group()
        coding.add_argument(
            "--hex",
            action="store_true",
            help="messages are written in hexadecimal and sent as binary; binary ones "
            "that arrive are shown so (default: as text)",
        )
        coding.add_argument(
            "--base64",
            action="store_true",
            help="the same in base64 (default: as text)",
        )

    def add_output_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument_group("output").add_argument
        add(
            "--json",
            action="store_true",
            help="print one JSON object a line for each event (default: lines to read)",
        )
        add(
            "--timestamps",
            action="store_true",
            help="put the time in front of each line (default: no time)",
        )
        add(
            "--rtt",
            action="store_true",
            help="put the round-trip time behind each reply (default: no time)",
        )
        add(
            "--trace",
            action="store_true",
            help="print the handshake and every frame as they go over the wire "
            "(default: messages only)",
        )

    def handle(self, *args: Any, **arguments: Any) -> None:
        # Escape what the terminal's encoding lacks.
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            self.refuse_contradictions(**arguments)
            asyncio.run(self.run_session(**arguments))
        except ArgumentTypeError as error:
            raise CommandError(str(error), returncode=ExitCode.USAGE) from None
        except ClientError as error:
            raise CommandError(str(error), returncode=error.exit_code) from None
        except OutputClosed:
            # At its end, Python would print an error because it cannot flush.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def refuse_contradictions(
        self, url: list[str], interactive: bool, count: int | None, **arguments: Any
    ) -> None:
        """Raise ArgumentTypeError for options that contradict."""
        lines = interactive or "-" in url
        if len(url) - url.count("-") > 1 or url.count("-") > 1:
            raise ArgumentTypeError(
                f"expected one URL and at most one -, got {' '.join(url)}; "
                "quote a URL that holds spaces or &"
            )
        if interactive and "-" in url:
            raise ArgumentTypeError(
                "-i and - contradict: messages come from a prompt or from standard "
                "input; leave one of them out"
            )
        if lines and count is not None:
            raise ArgumentTypeError(
                "--count counts the messages of -x or of the clock, and not those of "
                "-i or -; leave it out"
            )
        endless = count is None and not lines and not arguments["execute"]
        if endless and arguments["wait"] is not None:
            raise ArgumentTypeError(
                "--wait waits after the last message, and the clock has none; add "
                "--count or -x"
            )

    async def run_session(self, **arguments: Any) -> None:
        """Run the client; print above the prompt if there is one."""
        stop = asyncio.Event()
        prompting = arguments["interactive"] and self.on_terminal()
        async with AsyncExitStack() as stack:
            if prompting:
                from prompt_toolkit.patch_stdout import patch_stdout

                stack.enter_context(patch_stdout())
                self.stdout = OutputWrapper(sys.stdout)
            form = make_form(**arguments)
            typed: Source = Lines(STDIN, form)
            if prompting:
                typed = prompt = Prompt(form, stop.set, self.print_line)
                stack.push_async_callback(prompt.close)
            await Session(
                make_options(prompting, **arguments),
                make_source(form, typed, **arguments),
                self.make_output(form, **arguments),
                stop,
            ).run()

    def make_output(
        self, form: Form, json: bool, rtt: bool, timestamps: bool, **arguments: Any
    ) -> Output:
        if json:
            return JsonOutput(self.print_line)
        return PlainOutput(self.print_line, form, rtt=rtt, timestamps=timestamps)

    def print_line(self, text: str) -> None:
        """Print without buffering, for a reader at the other end of a pipe."""
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except BrokenPipeError:
            raise OutputClosed from None

    @staticmethod
    def on_terminal() -> bool:
        """Return True if a prompt can be shown: its cursor codes need a terminal."""
        return sys.stdin.isatty() and sys.stdout.isatty()


def make_form(binary: bool, hex: bool, base64: bool, **arguments: Any) -> Form:
    if hex:
        return Form.HEX
    if base64:
        return Form.BASE64
    return Form.BINARY if binary else Form.TEXT


def make_options(
    prompting: bool, url: list[str], addr: str, **arguments: Any
) -> values.Options:
    target = next((text for text in url if text != "-"), f"ws://{addr}/echo")
    clock = sends_time(url, **arguments)
    default = values.CLOCK_INTERVAL_SECONDS if clock else 0.0
    interval = arguments["interval"]
    interval = default if interval is None else interval
    wait = arguments["wait"]
    return values.Options(
        uri=values.parse_url(target),
        headers=tuple(arguments["header"]),
        origin=arguments["origin"],
        subprotocols=tuple(arguments["subprotocol"]),
        insecure=arguments["insecure"],
        timeout=arguments["timeout"],
        delay=interval if clock else 0.0,
        interval=interval,
        # At a prompt, Ctrl-D ends at once, with or without the replies.
        wait=0.0 if wait is None and prompting else wait,
        reconnect=arguments["reconnect"],
        close_code=arguments["close_code"],
        close_reason=arguments["close_reason"],
        trace=arguments["trace"],
    )


def make_source(
    form: Form, typed: Source, url: list[str], count: int | None, **arguments: Any
) -> Source:
    if sends_time(url, **arguments):
        return Clock(form, count)
    # os.fsencode gives back the bytes that the shell passed, UTF-8 or not.
    messages = [encode(os.fsencode(text), form) for text in arguments["execute"]]
    source = Listed(messages, count or 1)
    lines = arguments["interactive"] or "-" in url
    return Chain(source, typed) if lines else source


def sends_time(
    url: list[str], execute: list[str], interactive: bool, **arguments: Any
) -> bool:
    """Return True if no message is given in any way: the clock sends the time."""
    return not (execute or interactive or "-" in url)
