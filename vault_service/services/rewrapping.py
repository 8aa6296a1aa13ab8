"""Rewraps every wrapped key below a version, wherever it lies, and counts what is left.

A pass walks each place by its primary key, window after window, and each window in batches: lock,
have Vault rewrap, write, tell the ledger, commit. The threads of a pass share its windows. What a
rival has locked is skipped, so any number of workers share a pass without knowing of each other.
Nothing is kept between batches but the place reached: a process that dies leaves its last batch
undone, and the next pass finds it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Final, Self
from uuid import UUID

from keys.data_keys import WrappedKey
from vault_service.ledger.entries import Event
from vault_service.services import bindings
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit, new_entry_id
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.rotation_ports import (
    KeyRotator,
    RewrappedRow,
    RotationRow,
    RowKey,
    Tally,
    WrappedRow,
)

ACTOR: Final = "worker"
# Rows of one transaction. More of them share its round trips, its entry and its wait for the disk,
# but they are locked for longer: all of them while Vault rewraps them, 200 in each request.
BATCH: Final = 400
# Rows that one statement looks through at most, so that none runs long where little is to be done.
WINDOW: Final = 2_000
# Of a count, which is cheaper for each row.
COUNTED: Final = 20_000
# Threads of one worker: while one waits for Vault another writes and a third commits.
LANES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What one pass did; `whole` where it was not stopped before its end."""

    rewrapped: int
    refused: int
    whole: bool


# The rows of a place behind a key, up to a key.
_Window = tuple[str, RowKey | None, RowKey | None]


class _Shared:
    """Windows that several threads walk together: each of them goes to one thread."""

    def __init__(self, windows: Iterator[_Window]) -> None:
        self._windows = windows
        self._lock = threading.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _Window:
        with self._lock:
            return next(self._windows)


class Rewrapping:
    """Walks all wrapped keys. Needs the worker's database role and Vault's role `rotate`.

    Args:
        uow: the worker's units of work.
        rotator: Vault. Its calls must end soon, for rows are locked meanwhile.
        audit: makes the entries.
        alarms: raises alarms.
        lanes: threads of a pass.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        rotator: KeyRotator,
        audit: Audit,
        alarms: Alarms,
        lanes: int = LANES,
    ) -> None:
        self._uow = uow
        self._rotator = rotator
        self._audit = audit
        self._alarms = alarms
        self._lanes = lanes

    def rewrap(self, rotation: RotationRow, stop: threading.Event) -> Passed:
        """One pass over everything below the rotation's new version.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: batches before stay done.
            Unavailable: the database is away; batches before stay done.
        """
        with ThreadPoolExecutor(self._lanes, thread_name_prefix="rewrap") as threads:
            windows = _Shared(self._windows(WINDOW))
            lanes = [
                threads.submit(self._lane, rotation, windows, stop) for _ in range(self._lanes)
            ]
            done = [lane.result() for lane in lanes]
        return Passed(
            rewrapped=sum(each.rewrapped for each in done),
            refused=sum(each.refused for each in done),
            whole=all(each.whole for each in done),
        )

    def count(self) -> list[Tally]:
        """Count all wrapped keys, by KEK and version.

        Raises:
            Unavailable: the database is away.
        """
        found: dict[tuple[str, int, bool], int] = {}
        for place, after, end in self._windows(COUNTED):
            with self._uow.begin(read_only=True) as tx:
                for each in tx.wrapped.tally(place, after, end):
                    name = (each.kek, each.version, each.sound)
                    found[name] = found.get(name, 0) + each.count
        return [
            Tally(kek=kek, version=version, sound=sound, count=count)
            for (kek, version, sound), count in found.items()
        ]

    def _windows(self, rows: int) -> Iterator[_Window]:
        """Each window of each place: the rows behind a key, up to a key."""
        with self._uow.begin(read_only=True) as tx:
            places = tx.wrapped.places()
        for place in places:
            after: RowKey | None = None
            while True:
                with self._uow.begin(read_only=True) as tx:
                    end = tx.wrapped.window(place, after, rows)
                yield place, after, end
                if end is None:
                    break
                after = end

    def _lane(
        self, rotation: RotationRow, windows: Iterator[_Window], stop: threading.Event
    ) -> Passed:
        rewrapped = refused = 0
        for place, begin, end in windows:
            after, more = begin, True
            while more:
                if stop.is_set():
                    return Passed(rewrapped=rewrapped, refused=refused, whole=False)
                taken, done = self._batch(rotation, place, after, end)
                rewrapped, refused = rewrapped + done, refused + len(taken) - done
                after = taken[-1].row if taken else end
                more = len(taken) == BATCH and after != end
        return Passed(rewrapped=rewrapped, refused=refused, whole=True)

    def _batch(
        self, rotation: RotationRow, place: str, after: RowKey | None, end: RowKey | None
    ) -> tuple[list[WrappedRow], int]:
        """Rewrap one batch; what was found, and how many of it Vault rewrapped."""
        with self._uow.begin() as tx:
            taken = tx.wrapped.take(
                place, rotation.key, rotation.target, after=after, end=end, limit=BATCH
            )
            if not taken:
                return [], 0
            held = self._held(tx, taken)
            done = self._rewrapped(held, rotation.target)
            if done:
                entry = new_entry_id()
                commitments, rows = _bound(entry, done)
                tx.wrapped.put(place, rows)
                tx.outbox.append(
                    self._audit.entries(
                        Event.VAULT_KEY_REWRAPPED,
                        ACTOR,
                        at=tx.clock.now(),
                        entry_id=entry,
                        commitments=commitments,
                        key=rotation.key,
                        count=len(done),
                        details={"rotation": rotation.id, "to_version": rotation.target},
                    )
                )
                tx.rotations.add(rotation.id, len(done))
        return taken, len(done)

    def _rewrapped(
        self, held: list[WrappedRow], target: int
    ) -> list[tuple[WrappedRow, WrappedKey]]:
        """Rows with what Vault made of their keys; those that it refused are left out."""
        results = self._rotator.rewrap([each.wrapped for each in held])
        return [
            (each, result)
            for each, result in zip(held, results, strict=True)
            if isinstance(result, WrappedKey) and result.kek_version >= target
        ]

    def _held(self, tx: Transaction, taken: list[WrappedRow]) -> list[WrappedRow]:
        """Those that are bound as the ledger says; rewrapping another would make it pass for one.

        What is left counts as refused, so that the rotation halts and somebody looks.
        """
        claims = {each.row: bindings.claim(each.bound) for each in taken if each.bound is not None}
        broken = bindings.unbound(tx.bindings, claims)
        if not broken:
            return taken
        for each in taken:
            if each.row in broken and each.bound is not None:
                name = each.bound.token
                self._alarms.raise_in(
                    tx,
                    bindings.SUBSTITUTED,
                    ACTOR,
                    subject=name,
                    quiet=bindings.QUIET,
                    tokens=[name],
                )
        return [each for each in taken if each.row not in broken]


def _bound(
    entry: str, done: list[tuple[WrappedRow, WrappedKey]]
) -> tuple[dict[str, str], list[RewrappedRow]]:
    """The commitment of a batch, and what its rows get; of a place all rows are bound, or none."""
    leaves = [
        bindings.leaf(row.token, row.version, wrapped, row.envelope_hash)
        for each, wrapped in done
        if (row := each.bound) is not None
    ]
    commitments, made = bindings.bind(UUID(entry), leaves)
    return commitments, [
        RewrappedRow(row=each.row, wrapped=wrapped, binding=binding)
        for (each, wrapped), binding in zip(done, made or repeat(None, len(done)), strict=True)
    ]
