"""The repository of usage counts, as the use cases see it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

# A page and a referrer's domain.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one process adds to one place of a day.

    Attributes:
        page: which page, or `*`.
        referrer: which domain, or a word in its place.
        views: page views to add.
        visitors: how many there are now, by the sketch.
        sketch: the sketch after the addition, in its library's compact form.
    """

    page: str
    referrer: str
    views: int
    visitors: int
    sketch: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """The true counts of one place of a day; never shown as they are."""

    day: date
    page: str
    referrer: str
    views: int
    visitors: int


class UsageBook(Protocol):
    """Usage counts and the keys of their days."""

    def key(self, day: date, offered: bytes) -> bytes:
        """The key of a day: the offered one, if no process had put down another."""
        ...

    def open(self, day: date, empty: bytes) -> bool:
        """Lock a day against other merges, and make it if it is new; False once it is closed."""
        ...

    def domains(self, day: date) -> set[str]:
        """The domains that the day has by now."""
        ...

    def sketches(self, day: date, places: Collection[Place]) -> dict[Place, bytes]:
        """The stored sketches of those of the places that have one."""
        ...

    def add(self, day: date, rows: Sequence[Counted]) -> None:
        """Add views to places, and put new sketches in the place of the old."""
        ...

    def rows(self, since: date, until: date) -> list[UsageRow]:
        """The counts of a period, both days included, the newest day first."""
        ...

    def forget_keys(self, before: date) -> int:
        """Destroy the keys of the days before one; how many there were."""
        ...

    def close(self, before: date) -> int:
        """Take the sketches of the days before one away, their numbers stay; how many rows."""
        ...

    def purge(self, before: date) -> int:
        """Delete the counts of the days before one; how many rows."""
        ...
