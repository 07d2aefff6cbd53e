"""The command line of every measurement."""

import argparse
from collections.abc import Collection


def make_parser(
    doc: str | None,
    *,
    rounds: int,
    readers: int = 0,
    servers: Collection[str] = (),
) -> argparse.ArgumentParser:
    """Return a parser with ``--rounds``, and ``--readers`` and ``--only`` where given.

    The description is the first line of the module's docstring.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    add = parser.add_argument
    add(
        "--rounds",
        type=int,
        default=rounds,
        help="measurements of each (default: %(default)s)",
    )
    if readers:
        add(
            "--readers",
            type=int,
            default=readers,
            help="connections (default: %(default)s)",
        )
    if servers:
        add(
            "--only",
            action="append",
            choices=servers,
            help="a server; may be repeated (default: all)",
        )
    return parser
