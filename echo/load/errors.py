"""What stops a load."""


class LoadError(Exception):
    """The server did not do what was expected; the text says what it did."""


class Unavailable(Exception):
    """The load generator cannot run here; the text says what is missing."""
