"""What the log's use cases need of the store, and the plain rows that pass through.

A part of `ports`, apart because it is one subject: the sequencer writes, the reader reads, and
every process asks how far the log is behind. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from vault_service.ledger.tiles import Edge


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """Where the log stands.

    Attributes:
        origin: the log's name; None until its first checkpoint gives it one.
        edge: size and right edge.
        root: the root that was computed when the last leaves were appended.
        signed_size: size of the newest checkpoint.
        first_leaf: the first leaf whose entry is at hand; those before are in archives.
    """

    origin: str | None
    edge: Edge
    root: bytes
    signed_size: int
    first_leaf: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingEntry:
    """An entry taken out of the outbox; `wrapped_keys` as `bindings` has it, None without one."""

    id: UUID
    entry: bytes
    created_at: datetime
    wrapped_keys: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBundle:
    """A full entry bundle on its way into the table.

    Attributes:
        number: which one.
        packed: the bundle, gzip.
        terms: what its entries can be found by.
        first_at: the earliest time of its entries.
        last_at: the latest.
    """

    number: int
    packed: bytes
    terms: tuple[int, ...]
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """Everything that one batch adds.

    Attributes:
        first_leaf: index of the batch's first entry.
        ids: ids of the entries, in the order of their leaves.
        wrapped_keys: their commitments to wrapped keys, None where they have none.
        tiles: full tiles: (level, number, hashes).
        edge: the new edge.
        changed: levels of the edge that changed.
        root: the new root.
        bundles: bundles that became full.
        tail: entries of the last, partial bundle that are new: (leaf, entry).
        oldest: when the oldest entry of the batch was written.
    """

    first_leaf: int
    ids: tuple[UUID, ...]
    wrapped_keys: tuple[bytes | None, ...]
    tiles: tuple[tuple[int, int, bytes], ...]
    edge: Edge
    changed: tuple[int, ...]
    root: bytes
    bundles: tuple[NewBundle, ...]
    tail: tuple[tuple[int, bytes], ...]
    oldest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What bundles are looked for.

    Attributes:
        terms: all of these must be among a bundle's terms.
        since: only bundles with an entry of this time or later.
        until: only bundles with an entry of this time or earlier.
        start: from this bundle on, in the direction of the search.
        newest_first: search downwards.
    """

    terms: tuple[int, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    start: int = 0
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where an entry is, with the log's state and its newest signed head, of one moment.

    Attributes:
        state: the log's state.
        leaf: the entry's index; None where the log does not have it.
        note: the newest signed checkpoint, if there is one.
    """

    state: LogState
    leaf: int | None
    note: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a proof of inclusion is made of, of one moment.

    Attributes:
        tiles: full tiles by (level, number).
        entry: the entry, where it lies in the partial bundle.
        packed: the full bundle that it lies in, gzip. Of an archived entry there is neither.
    """

    tiles: Mapping[tuple[int, int], bytes]
    entry: bytes | None
    packed: bytes | None


class LogWriting(Protocol):
    """The sequencer's side of the log."""

    def lock(self) -> LogState | None:
        """The log's state, locked for the rest of the unit of work; None while another has it."""
        ...

    def take(self, limit: int) -> list[WaitingEntry]:
        """Take the oldest entries out of the outbox, oldest first."""
        ...

    def append(self, batch: Appended) -> None:
        """Write a batch; the log must be locked."""
        ...

    def record_checkpoint(self, *, origin: str, size: int, note: bytes, since: datetime) -> None:
        """Write a signed checkpoint; waits for whoever has the log locked.

        Args:
            origin: the log's name.
            size: how many entries the head covers.
            note: the signed head.
            since: the time since when what it does not cover may be waiting.
        """
        ...

    def thin_checkpoints(self) -> int:
        """Of the checkpoints older than a day, keep the last of each hour; how many went."""
        ...


class LogForgetting(Protocol):
    """What only the schema's owner may do."""

    def forget(self, first: int, end: int) -> bool:
        """Delete the bundles of the leaves [first, end); False when others began elsewhere."""
        ...


class LogReading(Protocol):
    """What can be asked of the log."""

    def state(self) -> LogState:
        """The log's state, unlocked, at one moment."""
        ...

    def tiles(self, names: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Full tiles by (level, number); what is not full is missing."""
        ...

    def bundles(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Full bundles by number, gzip."""
        ...

    def tail(self) -> list[tuple[int, bytes]]:
        """The entries of the partial bundle: (leaf, entry), in order."""
        ...

    def locate(self, entry: UUID) -> Located:
        """Where an entry is, and what a proof of it has to lead to."""
        ...

    def show(self, names: Sequence[tuple[int, int]], leaf: int) -> Shown:
        """Full tiles, and the entry of a leaf or the bundle that has it."""
        ...

    def find(self, wanted: Wanted, limit: int) -> list[int]:
        """Numbers of full bundles that may hold what is wanted, in the order of the search."""
        ...

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint."""
        ...

    def unplaced_since(self) -> datetime:
        """Since when the oldest entry of the outbox waits; now, if it is empty."""
        ...

    def behind(self) -> float:
        """Seconds since the oldest entry was written that no signed checkpoint covers, or 0."""
        ...


class Log(LogWriting, LogReading, LogForgetting, Protocol):
    """The repository of the log."""


class LogSigner(Protocol):
    """Vault's key `ledger`."""

    def sign(self, message: bytes) -> tuple[int, bytes]:
        """The key's version and its Ed25519 signature.

        Raises:
            VaultUnavailable: it was not signed.
        """
        ...

    def public_keys(self) -> Mapping[int, bytes]:
        """Raw public keys by version.

        Raises:
            VaultUnavailable: Vault gave no answer in time.
        """
        ...
