"""Users of a live site whose rights a test takes away."""

import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from echo.tests.live import LiveSite
from echo.tests.transports.adapters import ask


@dataclass(frozen=True)
class Person:
    """A member of staff with a session of their own."""

    site: LiveSite
    id: int
    cookie: str

    def change(self, how: str) -> None:
        asked = urlencode({"id": self.id, "change": how})
        assert ask(self.site, f"/change?{asked}").status == 200

    def sign_out(self) -> None:
        """Sign out as the admin's button does."""
        token = "a" * 32
        answer = ask(
            self.site,
            "/admin/logout/",
            body=b"",
            Cookie=f"{self.cookie}; csrftoken={token}",
            X_CSRFToken=token,
        )
        assert answer.status == 200


def make_person(site: LiveSite) -> Person:
    name = f"staff-{secrets.token_hex(4)}"
    return Person(site, **ask(site, f"/person?name={name}").json())
