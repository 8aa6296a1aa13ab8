"""What rotations need from outside: their rows, all wrapped keys wherever they lie, and Vault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from keys.data_keys import WrappedKey
from keys.errors import CiphertextRejected
from keys.operations import KeyInfo
from keys.rotation import Begun
from vault_service.services.binding_ports import Binding, BoundRow

# A row's key within its table.
RowKey = tuple[object, ...]


class RotationState(StrEnum):
    """How far a rotation is. All but `done` count as live; a key has one live rotation."""

    REQUESTED = "requested"
    RUNNING = "running"
    VERIFYING = "verifying"
    FAILED = "failed"
    DONE = "done"


class Reason(StrEnum):
    """Why a rotation was begun."""

    ASKED = "asked"
    PERIOD = "period"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRow:
    """A rotation as stored. `now` is the database's clock at the reading.

    Attributes:
        id: `rot_…`.
        key: the key-encryption key.
        state: how far it is.
        reason: why.
        requested_by: a principal, or a part of the service.
        from_version: the newest version before; None until the worker has looked.
        to_version: the new version; None until Vault has made it.
        total: wrapped keys below the new version when it began.
        rewrapped: those that were rewrapped since.
        failed: those that Vault refused, when it came to a halt.
        requested_at: when it was asked for.
        started_at: when the new version was in force.
        clear_at: when none was found below the new version for the first time.
        finished_at: when the older versions were retired.
        now: when this was read.
    """

    id: str
    key: str
    state: RotationState
    reason: Reason
    requested_by: str
    from_version: int | None
    to_version: int | None
    total: int
    rewrapped: int
    failed: int
    requested_at: datetime
    started_at: datetime | None
    clear_at: datetime | None
    finished_at: datetime | None
    now: datetime

    @property
    def target(self) -> int:
        """The new version of a rotation that has begun; 0 before, when nothing is below it."""
        return self.to_version or 0


class Rotations(Protocol):
    """Rotations of key-encryption keys."""

    def insert(self, rotation: str, key: str, reason: Reason, by: str) -> RotationRow:
        """Ask for a rotation; the key's live one where there is one already."""
        ...

    def get(self, rotation: str) -> RotationRow | None:
        """One rotation."""
        ...

    def live(self) -> list[RotationRow]:
        """Those that are not done, oldest first."""
        ...

    def page(self, before: str | None, limit: int) -> list[RotationRow]:
        """Rotations, newest first, from the one after `before`."""
        ...

    def lock(self, rotation: str, state: RotationState) -> RotationRow | None:
        """One rotation in this state, locked; None where it left it or a rival has it."""
        ...

    def know(self, rotation: str, from_version: int) -> None:
        """Remember the newest version before Vault makes another."""
        ...

    def begin(self, rotation: str, to_version: int, total: int) -> None:
        """Move from `requested` to `running`."""
        ...

    def add(self, rotation: str, rewrapped: int) -> None:
        """Count what was rewrapped."""
        ...

    def move(
        self, rotation: str, was: RotationState, to: RotationState, *, failed: int | None = None
    ) -> RotationRow | None:
        """Change the state, stamping the times; None where it was not `was`."""
        ...

    def trimmable(self, keys: Sequence[str], after: timedelta) -> list[RotationRow]:
        """Rotations of these keys that ended so long ago and were not trimmed, oldest first."""
        ...

    def trimmed(self, rotation: str) -> bool:
        """Note that the versions which it retired are deleted; False where that was known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedRow:
    """One wrapped key and where it lies; with its binding where it is a record's."""

    row: RowKey
    wrapped: WrappedKey
    bound: BoundRow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrappedRow:
    """What a row that was taken gets: its rewrapped key, and the binding that goes with it."""

    row: RowKey
    wrapped: WrappedKey
    binding: Binding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many wrapped keys of one KEK and version; `sound` where column and key agree on it."""

    kek: str
    version: int
    sound: bool
    count: int


class WrappedKeys(Protocol):
    """Every wrapped key in the database, by place: a column of a table.

    A place is walked in the order of its table's primary key, in windows, so that no statement
    runs long however large the table is.
    """

    def places(self) -> tuple[str, ...]:
        """The names of all places."""
        ...

    def window(self, place: str, after: RowKey | None, rows: int) -> RowKey | None:
        """Where a window of so many rows after `after` ends; None where the table ends first."""
        ...

    def tally(self, place: str, after: RowKey | None, end: RowKey | None) -> list[Tally]:
        """Count the wrapped keys of a window."""
        ...

    def take(
        self,
        place: str,
        kek: str,
        below: int,
        *,
        after: RowKey | None,
        end: RowKey | None,
        limit: int,
    ) -> list[WrappedRow]:
        """Lock rows of a window that are wrapped below a version; those of rivals are skipped."""
        ...

    def put(self, place: str, rows: Sequence[RewrappedRow]) -> None:
        """Store rewrapped keys in rows that were taken."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CensusRow:
    """What was counted of one key last: version -> keys under it."""

    wrapped: Mapping[int, int]
    counted_at: datetime
    overdue_since: datetime | None


class Census(Protocol):
    """How many wrapped keys lie under each version of each key."""

    def put(self, key: str, wrapped: Mapping[int, int]) -> None:
        """Replace what was counted for a key."""
        ...

    def all(self) -> dict[str, CensusRow]:
        """What was counted, by key."""
        ...

    def flag(self, key: str, *, overdue: bool) -> bool:
        """Note whether a key is overdue; False where that was known."""
        ...


class KeyReader(Protocol):
    """Reads keys in Vault; their settings, never their material."""

    def read(self, key: str) -> KeyInfo:
        """Return a key's versions and limits.

        Raises:
            KeyNotReady: Vault has no such key.
            VaultUnavailable: Vault gave no answer.
        """
        ...


class KeyRotator(KeyReader, Protocol):
    """What rotations need of Vault. Each call may be repeated."""

    def begin(self, key: str, *, known: int | None = None) -> Begun:
        """Make a new version of a key and forbid the older ones to wrap.

        Where a version newer than `known` is there already, no other is made.

        Raises:
            VaultUnavailable: it may or may not have been done.
        """
        ...

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> list[WrappedKey | CiphertextRejected]:
        """Bring keys of one KEK to its newest version, 200 in each request.

        Raises:
            VaultUnavailable: nothing was rewrapped.
        """
        ...

    def retire(self, key: str, version: int) -> None:
        """Have Vault refuse every version below.

        Raises:
            VaultUnavailable: it may or may not have been done.
        """
        ...

    def trim(self, key: str, version: int) -> None:
        """Have Vault delete every version below, which were retired.

        Raises:
            VaultRefused: they are in force.
            VaultUnavailable: it may or may not have been done.
        """
        ...


class KeyFloors(Protocol):
    """The lowest KEK version that a write may carry."""

    def get(self) -> dict[str, int]:
        """All floors by key."""
        ...

    def put(self, key: str, min_version: int) -> None:
        """Set a floor; never lowers one."""
        ...
