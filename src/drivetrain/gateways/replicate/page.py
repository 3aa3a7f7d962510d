"""Lists in pages: ``next`` and ``previous`` are absolute URLs with an opaque ``cursor``."""

from __future__ import annotations

import base64
import binascii
import json
import operator
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from drivetrain.gateways.http.refusal import Refused

PAGE_SIZE = 100

Item = TypeVar("Item")

#: Where an item stands in its list: its time and what tells it from others of the same time.
Place = tuple[datetime, str]


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where a page begins.

    Attributes:
        place: Of the item before its first (or, going back, after its last); that item is not in it.
        is_back: Whether it goes towards the beginning of the list.
    """

    place: Place
    is_back: bool = False

    def __str__(self) -> str:
        at, name = self.place
        text = json.dumps(["p" if self.is_back else "n", at.isoformat(), name], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read what ``str`` wrote.

        Raises:
            Refused: 422, it is something else.
        """
        try:
            direction, at, name = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            created_at = datetime.fromisoformat(at)
            if direction not in ("p", "n") or not isinstance(name, str) or created_at.utcoffset() is None:
                raise ValueError(text)
            name.encode()  # JSON may hold half a letter, which no database takes
            created_at = created_at.astimezone(timezone.utc)
        except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
            raise Refused(422, f"'{text[:100]}' is no cursor", hint="take 'next' or 'previous' of a page as it is") from None
        return cls(place=(created_at, name), is_back=direction == "p")


@dataclass(frozen=True, kw_only=True)
class Page:
    """Part of a list.

    Attributes:
        results: Rendered.
        next: Where the page after it begins; ``None`` on the last.
        previous: Where the one before it begins; ``None`` on the first.
    """

    results: Sequence[Any]
    next: Cursor | None = None
    previous: Cursor | None = None

    def render(self, url: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object.

        Args:
            url: Of the list.
            query: What the request had in its query, to be had in the other pages' too.
        """

        def link(cursor: Cursor | None) -> str | None:
            return None if cursor is None else f"{url}?{urllib.parse.urlencode({**query, 'cursor': str(cursor)})}"

        return {"next": link(self.next), "previous": link(self.previous), "results": list(self.results)}


def cursor_of(query: Mapping[str, str]) -> Cursor | None:
    """The cursor in a request's query; ``None`` for the first page."""
    text = query.get("cursor")
    return Cursor.parse(text) if text else None


def cut(found: Sequence[Item], cursor: Cursor | None, place: Callable[[Item], Place]) -> tuple[Sequence[Item], Page]:
    """The items of a page, and the page without them.

    Args:
        found: One more than a page holds, if there are; in the order of the list. Going back, the surplus one is the first.
        cursor: Where the page begins.
        place: Where an item stands.
    """
    is_more = len(found) > PAGE_SIZE
    is_back = cursor is not None and cursor.is_back
    items = (found[-PAGE_SIZE:] if is_back else found[:PAGE_SIZE]) if is_more else found
    if not items:
        return items, Page(results=())
    has_next = is_back or is_more
    has_previous = is_more if is_back else cursor is not None
    return items, Page(
        results=(),
        next=Cursor(place=place(items[-1])) if has_next else None,
        previous=Cursor(place=place(items[0]), is_back=True) if has_previous else None,
    )


def select(
    items: Sequence[Item], cursor: Cursor | None, place: Callable[[Item], Place], *, ascending: bool = False
) -> tuple[Sequence[Item], Page]:
    """A page of a list that is in memory.

    Args:
        items: All there are, in any order.
        cursor: Where the page begins.
        place: Where an item stands.
        ascending: Oldest first.
    """
    ordered = sorted(items, key=place, reverse=not ascending)
    if cursor is not None:
        is_beyond = operator.gt if ascending != cursor.is_back else operator.lt
        ordered = [item for item in ordered if is_beyond(place(item), cursor.place)]
    is_back = cursor is not None and cursor.is_back
    return cut(ordered[-PAGE_SIZE - 1 :] if is_back else ordered[: PAGE_SIZE + 1], cursor, place)
