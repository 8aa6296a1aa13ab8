"""What the activity log needs of the store, and its plain rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from keys.data_keys import WrappedKey
from vault_service.services.binding_ports import Binding


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSegment:
    """A sealed segment on its way into the table; `marks` is what `domain.activity` packs."""

    bucket: int
    month: date
    id: str
    customer: str
    first_at: datetime
    last_at: datetime
    marks: bytes
    envelope: bytes = field(repr=False)
    wrapped_key: WrappedKey
    binding: Binding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHead:
    """Where a segment lies in time, and how many entries it has."""

    month: date
    id: str
    first_at: datetime
    last_at: datetime
    entries: int


class ActivityLog(Protocol):
    """Segments of activity; they are only ever added."""

    def open(self, month: date) -> None:
        """Make room for a month, where there is none.

        Raises:
            RowRefused: it is not the first day of a month that has begun.
        """
        ...

    def record(self, rows: Sequence[NewSegment]) -> set[str]:
        """Insert segments; the ids of those that were.

        Missing is one whose customer is unknown, or whose KEK version lies below the floor.

        Raises:
            RowRefused: there is no room for a month.
        """
        ...

    def heads(
        self, bucket: int, customer: str, begin: datetime, end: datetime, limit: int
    ) -> list[SegmentHead]:
        """A customer's segments that reach over `begin`, and the next that begin before `end`.

        Of the latter at most `limit`, by first time.
        """
        ...

    def marks(self, bucket: int, names: Sequence[tuple[date, str]]) -> dict[str, bytes]:
        """The marks of segments by (month, id)."""
        ...
