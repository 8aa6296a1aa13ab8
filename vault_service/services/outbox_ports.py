"""Ledger entries on their way into the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A ledger entry in its canonical form, with the bucket that it is stored under."""

    bucket: int
    id: UUID
    entry: bytes


class Outbox(Protocol):
    """The ledger's outbox."""

    def append(self, entries: Sequence[OutboxEntry]) -> None:
        """Insert the entries; they are promised once the unit of work commits."""
        ...
