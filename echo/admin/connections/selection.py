"""The connections that an action is for, as the list's form names them."""

import re
from dataclasses import dataclass
from typing import Self

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import QueryDict

from echo import feed
from echo.admin.connections.query import Listing

ID = re.compile(r"[\w-]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Selection:
    """Some of a page, or all that match."""

    listing: Listing
    ids: tuple[str, ...]
    is_all: bool

    @classmethod
    def parse(cls, listing: Listing, given: QueryDict) -> Self:
        """What the form selects on the list; what cannot be an id is none."""
        found = filter(ID.fullmatch, given.getlist(ACTION_CHECKBOX_NAME))
        ids = tuple(dict.fromkeys(found))
        return cls(listing, ids, given.get("select_across") == "1")

    @property
    def where(self) -> feed.ListConnections:
        """A selected connection stays selected when it no longer matches the filters."""
        return self.listing.where if self.is_all else feed.ListConnections(ids=self.ids)

    def __bool__(self) -> bool:
        return self.is_all or bool(self.ids)

    def __str__(self) -> str:
        if not self.is_all:
            return f"{len(self.ids)} selected"
        filters = self.listing.filters.items()
        words = ", ".join(f'{name} is "{value}"' for name, value in filters)
        return f"all that match {words}" if words else "all"
