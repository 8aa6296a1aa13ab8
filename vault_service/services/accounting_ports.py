"""The repository of what was disclosed, as the use cases see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReveal:
    """What one reveal told of one customer, on its way into the table.

    Attributes:
        bucket: the customer's.
        customer: whose values.
        entry: the reveal's ledger entry.
        grant_bucket: the bucket of the grant.
        disclosure: the grant.
        tokens: of which records.
        classes: the class of each, in the same order.
        fields: which fields, of those that a class has; None for all of them.
    """

    bucket: int
    customer: str
    entry: UUID
    grant_bucket: int
    disclosure: str
    tokens: tuple[str, ...]
    classes: tuple[str, ...]
    fields: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealRow:
    """One reveal of one customer's values, with what its grant says.

    Attributes:
        told: whether the customer may be told of it by now.
        notice_rule: when he may, as the ground had it when the request was made.
        notice_after: the instant that `after_date` waits for.
    """

    entry: UUID
    at: datetime
    disclosure: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    tokens: tuple[str, ...]
    classes: tuple[str, ...]
    fields: tuple[str, ...] | None
    told: bool
    notice_rule: str
    notice_after: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRow:
    """All reveals of one kind of value on one ground to one kind of recipient."""

    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    data_class: str
    fields: tuple[str, ...] | None
    first: datetime
    last: datetime
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How much of one kind there was in a period; `data_class` is None for several at once."""

    ground: str
    category: str
    recipient_kind: str
    data_class: str | None
    requests: int
    denied: int
    granted: int
    reveals: int
    values: int


class Accounts(Protocol):
    """What was disclosed of whom."""

    def insert(self, rows: Sequence[NewReveal]) -> None:
        """Write down what reveals tell; in the transaction that spends their uses."""
        ...

    def page(
        self, bucket: int, customer: str, *, before: UUID | None, withheld: bool, limit: int
    ) -> list[RevealRow]:
        """A customer's reveals, newest first, from before an entry; withheld ones only if asked."""
        ...

    def told(self, bucket: int, customer: str, *, limit: int) -> list[ToldRow]:
        """What a customer may be told of by now, by kinds, the oldest first."""
        ...

    def tallies(self, since: datetime, until: datetime) -> list[Tally]:
        """What was asked, decided and revealed in a period; each event is in one tally."""
        ...
