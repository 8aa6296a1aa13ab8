"""Repositories of customers' changes and of links between customers, as the use cases see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from keys.data_keys import WrappedKey
from vault_service.services.binding_ports import Binding
from vault_service.services.record_ports import MaskedRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedValue:
    """A value on its way into a record, sealed for the version that it would become."""

    token: str
    data_class: str
    record_version: int
    variant: str
    mask: Mapping[str, object]
    fingerprint: bytes
    fingerprint_version: int
    envelope: bytes
    wrapped_key: WrappedKey
    binding: Binding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModification:
    """A change on its way into the table; without a value it is one that a person must read.

    `unassigned` says why the customer is one made for an unknown sender.
    """

    bucket: int
    id: str
    customer: str
    source: str
    ticket: str
    opened_by: str
    life: timedelta
    value: ProposedValue | None
    unassigned: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModificationRow:
    """A change as stored, without its sealed value. `now` is the database's clock."""

    bucket: int
    id: str
    customer: str
    token: str | None
    data_class: str | None
    record_version: int | None
    state: str
    source: str
    ticket: str
    opened_by: str
    proposed_by: str | None
    confirmed_by: str | None
    confirmed_how: str | None
    ended_by: str | None
    reason: str | None
    mask: Mapping[str, object] | None
    fingerprint: bytes | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    now: datetime
    unassigned: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """A live record as far as a change must know it."""

    token: str
    customer: str
    data_class: str
    format: str
    version: int
    mask: Mapping[str, object]
    fingerprint: bytes
    variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """The mask of a version that was replaced."""

    version: int
    mask: Mapping[str, object]
    modification: str
    replaced_at: datetime


class Modifications(Protocol):
    """Customers' changes."""

    def identified(self, names: Sequence[tuple[int, str]]) -> dict[str, Identified]:
        """Live records by (bucket, token)."""
        ...

    def only_of_class(self, names: Sequence[tuple[int, str, str]]) -> dict[tuple[str, str], str]:
        """By (customer, class) the token of each (bucket, customer, class) with one live record."""
        ...

    def insert(self, rows: Sequence[NewModification]) -> set[str]:
        """Insert; the ids that were new. An equal change that is pending stands instead.

        Missing, too, is one whose customer is gone.
        """
        ...

    def first(self, bucket: int, message: str) -> bool:
        """Record that a message from outside is being taken; False when it was before.

        Waits for a rival transaction that takes the same message.
        """
        ...

    def purge_messages(self, older_than: timedelta, limit: int) -> int:
        """Forget messages that nobody can send again; how many."""
        ...

    def equal(self, rows: Sequence[NewModification]) -> dict[str, ModificationRow]:
        """For each row offered, by its id, the pending change that equals it."""
        ...

    def get(self, bucket: int, modification: str, *, lock: bool = False) -> ModificationRow | None:
        """One change, locked for the rest of the unit of work when asked."""
        ...

    def page(
        self,
        *,
        bucket: int | None,
        customer: str | None,
        state: str | None,
        after: str | None,
        limit: int,
    ) -> list[ModificationRow]:
        """Changes in the order of their ids, after an id; of one customer, in one state, or all."""
        ...

    def unassigned(
        self, after: tuple[datetime, str] | None, limit: int
    ) -> list[tuple[ModificationRow, MaskedRecord]]:
        """Open changes that wait for their customer, each with the message that it is of.

        Oldest first, after one by (end of its time, id).
        """
        ...

    def propose(self, bucket: int, modification: str, value: ProposedValue, *, by: str) -> None:
        """Give an open change its value."""
        ...

    def confirm(self, bucket: int, modification: str, *, by: str, how: str) -> None:
        """Record who made sure who asks, and how."""
        ...

    def lock_record(self, bucket: int, modification: str) -> None:
        """Lock the record that a change is about, if it has one, before the change itself."""
        ...

    def held(self, bucket: int, token: str) -> bool:
        """Whether a legal hold keeps a record as it is."""
        ...

    def outdated(self, bucket: int, modification: str) -> bool:
        """Whether its fingerprint is of another version than its class is written under."""
        ...

    def apply(self, bucket: int, modification: str, *, by: str) -> tuple[str, int] | None:
        """Make the value the record's next version: (token, version), or None where it may not be.

        The version before leaves its mask; other pending changes of the record are superseded.

        Raises:
            RowRefused: another record of the customer holds this value; nothing was written.
        """
        ...

    def end(
        self, bucket: int, modification: str, state: str, *, by: str, reason: str | None = None
    ) -> None:
        """End a change and destroy the value that it held."""
        ...

    def expire_due(self, limit: int) -> list[ModificationRow]:
        """End changes past their time."""
        ...

    def versions(self, bucket: int, token: str) -> list[VersionRow]:
        """Masks of a live record's earlier versions, newest first."""
        ...

    def forget(self, names: Sequence[tuple[int, str]]) -> None:
        """Delete what erased records left in older versions and in changes."""
        ...

    def forget_all(self, bucket: int, customer: str) -> None:
        """Delete what an erased customer left beside his records: links, and his changes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A customer and all that are linked to him, with their masked records.

    Attributes:
        customers: the one asked for first, then the others in the order of their ids.
        created_at: when the one asked for was made.
        records: live records of all of them.
    """

    customers: tuple[str, ...]
    created_at: datetime
    records: tuple[MaskedRecord, ...]


class Links(Protocol):
    """Customers who were found to be one."""

    def put(self, one: tuple[int, str], other: tuple[int, str], *, by: str) -> bool:
        """Link two (bucket, customer); False when they were linked."""
        ...

    def remove(self, one: tuple[int, str], other: tuple[int, str]) -> bool:
        """Undo the link of two (bucket, customer); False when there was none."""
        ...

    def family(self, bucket: int, customer: str, limit: int) -> Family | None:
        """A customer with everybody linked to him, however far, and their records; one query.

        At most `limit` records of each customer, in the order of their tokens.
        """
        ...
