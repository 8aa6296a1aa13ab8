"""The repository of legal holds, as the use cases see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vault_service.services.crypto_ports import Sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHold:
    """A hold on its way into the table; reason and reference stand in `details`."""

    bucket: int
    id: str
    customer: str
    tokens: tuple[str, ...] | None
    placed_by: str
    until: datetime | None
    details: Sealed
    details_salt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRow:
    """A hold as stored. `now` is the database's clock at the reading."""

    bucket: int
    id: str
    customer: str
    tokens: tuple[str, ...] | None
    placed_by: str
    placed_at: datetime
    until: datetime | None
    details: Sealed
    released_by: str | None
    released_at: datetime | None
    release: Sealed | None
    now: datetime


class Holds(Protocol):
    """Legal holds. One is placed, and released by somebody else; nothing else of it changes."""

    def insert(self, row: NewHold) -> HoldRow:
        """Insert a hold; it counts when `settle` was called in the same unit of work.

        Raises:
            RowRefused: there never was such a customer.
        """
        ...

    def settle(self, bucket: int, customer: str) -> bool:
        """Lock the customer and bring what erasures look at in line with his holds.

        Returns:
            Whether there is such a customer who is not erased.
        """
        ...

    def get(self, bucket: int, hold: str) -> HoldRow | None:
        """One hold."""
        ...

    def page(
        self, customer: tuple[int, str] | None, after: tuple[int, str] | None, limit: int
    ) -> list[HoldRow]:
        """Holds of one customer or of all, in the order of bucket and id, after one."""
        ...

    def release(self, bucket: int, hold: str, *, by: str, reason: Sealed) -> HoldRow | None:
        """Release a hold that stands and was placed by somebody else; None where it is not so."""
        ...
