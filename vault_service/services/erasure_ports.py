"""The repository of erasures of customers, as the use cases see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class ErasureState(StrEnum):
    """Where an erasure stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRow:
    """An erasure of a customer as stored. `now` is the database's clock at the reading."""

    bucket: int
    customer: str
    state: ErasureState
    requested_by: str
    requested_at: datetime
    confirmed_by: str | None
    started_at: datetime | None
    records: int
    clear_at: datetime | None
    finished_at: datetime | None
    backup_horizon_days: int | None
    entry: UUID | None
    now: datetime


class Erasures(Protocol):
    """Erasures of customers; a customer has at most one, for ever."""

    def insert(self, bucket: int, customer: str, by: str) -> bool:
        """Ask for an erasure; False when it was asked for before."""
        ...

    def get(self, bucket: int, customer: str) -> ErasureRow | None:
        """The erasure of one customer."""
        ...

    def page(self, after: tuple[int, str] | None, limit: int) -> list[ErasureRow]:
        """Erasures in the order of bucket and customer, after one."""
        ...

    def confirm(self, bucket: int, customer: str, by: str) -> ErasureRow | None:
        """Move to running, if another asked for it and nobody has confirmed it."""
        ...

    def begin(self, bucket: int, customer: str) -> bool:
        """Let the customer be unknown from now on; False where a legal hold stands."""
        ...

    def running(self, limit: int) -> list[tuple[int, str]]:
        """(bucket, customer) of erasures under way, oldest first."""
        ...

    def lock(self, bucket: int, customer: str) -> ErasureRow | None:
        """A running erasure, locked; None where it is done or a rival has it."""
        ...

    def erase(self, bucket: int, customer: str, data_class: str, limit: int) -> list[str]:
        """Destroy up to `limit` of his records of a class; their tokens."""
        ...

    def add(self, bucket: int, customer: str, records: int) -> None:
        """Count what was destroyed; it is not clear whether that was all."""
        ...

    def cleared(self, bucket: int, customer: str) -> None:
        """Note that nothing was found any more."""
        ...

    def settle(self, bucket: int, customer: str) -> int:
        """Lock the customer against writers, and count the records that are left."""
        ...

    def forget_answers(self, low: int, end: int, customer: str) -> int:
        """Delete kept answers of these buckets that name him; how many."""
        ...

    def forget_salts(self, bucket: int, customer: str) -> int:
        """Delete the salts of commitments to texts about him; of how many disclosures."""
        ...

    def finish(self, bucket: int, customer: str, *, horizon_days: int, entry: UUID) -> ErasureRow:
        """Move to done."""
        ...
