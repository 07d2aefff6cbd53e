"""Parses which connections an action is for, as the list's form sends it."""

import re
from dataclasses import dataclass
from typing import Self

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import QueryDict

from echo.admin.connections.query import ConnectionQuery
from echo.feed import cluster

ID = re.compile(r"[\w-]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Selection:
    """Some connections of one page, by id, or all that match a query."""

    query: ConnectionQuery
    ids: tuple[str, ...]
    is_all: bool

    @classmethod
    def parse(cls, query: ConnectionQuery, given: QueryDict) -> Self:
        """Return what the form selects; drop values that cannot be an id."""
        found = filter(ID.fullmatch, given.getlist(ACTION_CHECKBOX_NAME))
        ids = tuple(dict.fromkeys(found))
        return cls(query, ids, given.get("select_across") == "1")

    @property
    def connections(self) -> cluster.ListConnections:
        """The question for what is selected; ids stay selected if they no longer match."""
        return (
            self.query.connections
            if self.is_all
            else cluster.ListConnections(ids=self.ids)
        )

    def __bool__(self) -> bool:
        return self.is_all or bool(self.ids)

    def __str__(self) -> str:
        if not self.is_all:
            return f"{len(self.ids)} selected"
        filters = self.query.filters.items()
        texts = ", ".join(f'{name} is "{value}"' for name, value in filters)
        return f"all that match {texts}" if texts else "all"
