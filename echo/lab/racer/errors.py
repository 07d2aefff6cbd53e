"""The command's exit codes, and the error that carries one."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The result of a race, for shell scripts."""

    NOT_CONNECTED = 1
    USAGE = 2
    REFUSED = 3
    TIMEOUT = 4


class RaceError(Exception):
    """The reason why a race fails; the text says expected, got, and remedy."""

    def __init__(self, exit_code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code
