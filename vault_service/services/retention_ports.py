"""What retention needs of the store, and its plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRecord:
    """A record that has been kept for its time; `held` where a legal hold keeps it on."""

    bucket: int
    token: str
    customer: str
    data_class: str
    version: int
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some records in the order of their names: what is due of them, and the last name."""

    due: tuple[DueRecord, ...]
    last: tuple[int, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """Segments of activity of one month: how many, and how many of customers who are held."""

    month: date
    segments: int
    held: int


class Retention(Protocol):
    """What has been kept for its time."""

    def window(
        self, periods: Mapping[str, timedelta], after: tuple[int, str] | None, size: int
    ) -> Window:
        """Records behind one, by class: due is what was made, and last changed, before its time."""
        ...

    def lock(self, due: Sequence[DueRecord]) -> list[tuple[int, str]]:
        """Lock those that are still of the version that was seen; those of rivals are skipped."""
        ...

    def months(self) -> list[date]:
        """The months that have a partition, oldest first."""
        ...

    def count(self, month: date) -> Month:
        """What a month holds."""
        ...

    def drop(self, month: date, keep: timedelta) -> tuple[int, int]:
        """Drop a month that is over for so long, but for whoever is held: (gone, kept).

        Raises:
            RowRefused: it is not.
            Unavailable: somebody is at it; nothing was done.
        """
        ...
