"""Finds who publishes over HTTP: a signed-in user, or the owner of a bearer token."""

from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.utils import timezone

from echo.feed import threads
from echo.models import Token
from echo.protocol import NotAllowed, Unauthorized, matches

# A token's id has 63 bits; no number of so few digits has more.
MAX_ID_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes, and where they may."""

    # What their rate is counted by: names of tokens may be alike.
    id: str
    name: str
    # Patterns of topics.
    patterns: tuple[str, ...]

    def check_topic(self, topic: object) -> None:
        """Raise NotAllowed for a topic that they may not publish to."""
        if isinstance(topic, str) and not any(matches(p, topic) for p in self.patterns):
            raise NotAllowed(
                f"{self.name} may publish to {' '.join(self.patterns)}, not to {topic}"
            )


def load_user_publisher(user_id: str) -> Publisher:
    """Return the signed-in user as a publisher. Raises NotAllowed without the permission."""
    user = get_user_model()._default_manager.get(pk=user_id)
    if not user.has_perm("echo.add_event"):
        raise NotAllowed(f"{user.get_username()} lacks the permission to add events")
    return Publisher(f"user {user.pk}", user.get_username(), ("*",))


def load_token_publisher(credentials: str) -> Publisher:
    """Return the publisher whose token is ``<id>.<secret>``; remember the token's use.

    Raises Unauthorized for a token that is not valid, NotAllowed for one whose owner may no
    longer publish.
    """
    identity, _, secret = credentials.partition(".")
    token = find_token(identity)
    if token is None or not token.accepts(secret):
        raise Unauthorized(
            "expected a valid bearer token, <id>.<secret> as the admin showed it"
        )
    if not token.owner_may_publish():
        raise NotAllowed(f"the owner of the token {token.name} may no longer publish")
    token.used(timezone.now())
    name = f"token {token.name}"
    return Publisher(f"token {token.pk}", name, tuple(token.topics.split()))


def find_token(identity: str) -> Token | None:
    """Return the token with an id, as the bearer has sent it; None for none."""
    if not identity.isdecimal() or len(identity) > MAX_ID_DIGITS:
        return None
    # Plain SQL: to make a query out of a queryset takes five times as long as to run it.
    found = Token.objects.raw("SELECT * FROM echo_token WHERE id = %s", [int(identity)])
    return next(iter(found), None)


async def find_publisher(*, token: str | None = None, user_id: str = "") -> Publisher:
    """Return the publisher with a token's credentials, else the one with a user's id.

    Raises Unauthorized and NotAllowed as the functions above do, and a DatabaseError when
    the database does not answer.
    """
    found: Publisher = await (
        threads.accounts.run(load_user_publisher, user_id)
        if token is None
        else threads.accounts.run(load_token_publisher, token)
    )
    return found
