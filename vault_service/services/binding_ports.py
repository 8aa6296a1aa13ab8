"""What the binding of wrapped keys to the ledger needs of the store, and its plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import msgspec

from keys.data_keys import WrappedKey


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """The entry that a row is bound by, and the path to its commitment."""

    entry: UUID
    path: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRow:
    """What a record's binding is about. `envelope_hash` is that of the stored envelope."""

    bucket: int
    token: str
    version: int
    wrapped: WrappedKey
    envelope_hash: bytes
    binding: Binding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedRow:
    """A record as it is walked; `bound` is None of an erased one.

    Attributes:
        bucket: its bucket.
        token: its token.
        customer: its customer.
        bound: what its binding is about.
        leaf: where in the log its entry is; None while it waits, or where there is none.
        committed: the commitment of its entry; None where there is none.
    """

    bucket: int
    token: str
    customer: str
    bound: BoundRow | None
    leaf: int | None
    committed: bytes | None


class Bindings(Protocol):
    """Bindings of records, and the commitments of entries."""

    def committed(self, places: Sequence[tuple[int, UUID]]) -> Mapping[UUID, bytes]:
        """The commitments of entries by (bucket in the outbox, id); of those that have one."""
        ...

    def walk(self, after: tuple[int, str] | None, limit: int) -> list[WalkedRow]:
        """Records in the order of their names, after one of them."""
        ...

    def walk_segments(self, after: str | None, limit: int) -> list[WalkedRow]:
        """Segments of activity in the order of bucket, month and name, after one of them."""
        ...

    def indexed(self, entries: Sequence[UUID]) -> Mapping[UUID, tuple[int, bytes | None]]:
        """What the index says of entries: the leaf, and the commitment."""
        ...

    def waiting(self) -> list[bytes]:
        """The entries in the outbox."""
        ...

    def take_unbound(self, after: tuple[int, str] | None, limit: int) -> list[BoundRow]:
        """Lock records without a binding; those of rivals are skipped."""
        ...

    def put(self, rows: Sequence[BoundRow]) -> None:
        """Store the bindings of rows that were taken."""
        ...
