"""Who may read and who may publish to which topic.

``staff.*`` is for staff, ``user.<id>.*`` for that user, everything else is public.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from echo.protocol import NotAllowed, matches

# The first words of topics that are not public.
STAFF, USER = "staff", "user"


def is_public(topic: str) -> bool:
    """Return True for a topic that every visitor may read."""
    return topic.split(".", 1)[0] not in (STAFF, USER)


@dataclass(frozen=True)
class Reader:
    """A user who reads; without a user id, a visitor who has not signed in.

    Two sessions of one user are equal: they read the same, and share what is cached.
    """

    user_id: str | None = None
    is_staff: bool = False
    username: str = ""
    # By which a connection that stays open is judged again; a secret, so never shown.
    session_key: str | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, user: Any, session_key: str | None = None) -> Self:
        """Return the reader that a Django user is, signed in or not."""
        if not user.is_authenticated:
            return cls()
        return cls(str(user.pk), user.is_staff, user.get_username(), session_key)

    def may_read(self, topic: str) -> bool:
        """Return whether a topic may be read; a pattern is judged by the words before ``.*``."""
        words = topic.removesuffix(".*").split(".")
        if words[0] == STAFF:
            return self.is_staff
        if words[0] == USER:
            return self.user_id is not None and words[1:2] == [self.user_id]
        return True

    def reduced_to(self, found: "Reader") -> "Reader":
        """Return what is left of this reader when its session is found to be another's now.

        Nothing is gained: a reader of ``*`` would see the topics of staff begin in mid-row.
        """
        if found.user_id != self.user_id:
            return Reader()
        return replace(self, is_staff=self.is_staff and found.is_staff)


@dataclass(frozen=True)
class Interest:
    """What a subscription wants, as far as its reader may have it."""

    patterns: tuple[str, ...]
    reader: Reader = field(default_factory=Reader)

    def __post_init__(self) -> None:
        # Each once: the hub's index has a place for each.
        object.__setattr__(self, "patterns", tuple(dict.fromkeys(self.patterns)))
        for pattern in self.patterns:
            if not self.reader.may_read(pattern):
                raise NotAllowed(
                    f"topic: {pattern} may not be read by "
                    f"{self.reader.username or 'a visitor who has not signed in'}; "
                    "staff.* is for staff, user.<id>.* for that user"
                )

    def matches(self, topic: str) -> bool:
        """Return True for a topic that is wanted and may be read; ``*`` is all that may be."""
        return any(matches(pattern, topic) for pattern in self.patterns) and (
            self.reader.may_read(topic)
        )

    @cached_property
    def is_restricted(self) -> bool:
        """Return True when what it matches depends on who reads."""
        return any(
            pattern == "*" or not is_public(pattern) for pattern in self.patterns
        )

    def allowed_to(self, reader: Reader) -> "Interest":
        """Return the interest of another reader, without the patterns it may not have."""
        allowed = (pattern for pattern in self.patterns if reader.may_read(pattern))
        return Interest(tuple(allowed), reader)

    @cached_property
    def exact(self) -> list[str]:
        """Return the patterns that are one topic each."""
        return [pattern for pattern in self.patterns if not pattern.endswith("*")]


def patterns_of(topic: str) -> list[str]:
    """Return every pattern that matches a topic: itself, its prefixes with ``.*``, ``*``."""
    words = topic.split(".")
    prefixes = [".".join(words[:length]) + ".*" for length in range(1, len(words))]
    return [topic, *prefixes, "*"]
