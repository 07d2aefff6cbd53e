"""The ways a run of the client ends, as exit codes."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a shell script learns from a run."""

    CLEAN = 0
    NOT_CONNECTED = 1
    USAGE = 2
    CLOSED_ABNORMALLY = 3
    TIMEOUT = 4


class ClientError(Exception):
    """A run that did not end well; the text says expected, got, and remedy.

    ``retry`` tells that the same attempt may succeed later, for ``--reconnect``.
    """

    def __init__(self, exit_code: ExitCode, text: str, *, retry: bool = False) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.retry = retry
