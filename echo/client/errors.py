"""The client's exit codes, and the error that carries one."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The result of a run, for shell scripts."""

    CLEAN = 0
    NOT_CONNECTED = 1
    USAGE = 2
    CLOSED_ABNORMALLY = 3
    TIMEOUT = 4


class ClientError(Exception):
    """The reason why a run fails; the text says expected, got, and remedy.

    ``retry`` is True if the same attempt may succeed later, for ``--reconnect``.
    """

    def __init__(self, exit_code: ExitCode, text: str, *, retry: bool = False) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.retry = retry
