"""Rewraps every wrapped key below a version, wherever it lies, and counts what is left.

A pass walks each place by its primary key, in batches of 200: lock, have Vault rewrap, write,
tell the ledger, commit. What a rival has locked is skipped, so any number of workers, with several
threads each, share a pass without knowing of each other. Nothing is kept between batches but the
place reached: a process that dies leaves its last batch undone, and the next pass finds it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from keys.data_keys import MAX_BATCH, WrappedKey
from vault_service.ledger.entries import Event
from vault_service.services import bindings
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit, new_entry_id
from vault_service.services.binding_ports import BoundRow
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.rotation_ports import (
    KeyRotator,
    RotationRow,
    RowKey,
    Tally,
    WrappedRow,
)

ACTOR: Final = "worker"
# Rows that one statement looks through at most, so that none runs long where little is to be done.
WINDOW: Final = 1_000
# Of a count, which is cheaper for each row.
COUNTED: Final = 20_000
# Threads of one worker: while one waits for Vault another writes.
LANES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What one pass did; `whole` where it was not stopped before its end."""

    rewrapped: int
    refused: int
    whole: bool


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
            lanes = [threads.submit(self._lane, rotation, stop) for _ in range(self._lanes)]
            done = [lane.result() for lane in lanes]
        return Passed(
            rewrapped=sum(each.rewrapped for each in done),
            refused=max(each.refused for each in done),
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

    def _windows(self, rows: int) -> Iterator[tuple[str, RowKey | None, RowKey | None]]:
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

    def _lane(self, rotation: RotationRow, stop: threading.Event) -> Passed:
        rewrapped = refused = 0
        for place, begin, end in self._windows(WINDOW):
            after, full = begin, True
            while full:
                if stop.is_set():
                    return Passed(rewrapped=rewrapped, refused=refused, whole=False)
                taken, done = self._batch(rotation, place, after, end)
                rewrapped, refused = rewrapped + done, refused + len(taken) - done
                full = len(taken) == MAX_BATCH
                after = taken[-1].row if full else end
        return Passed(rewrapped=rewrapped, refused=refused, whole=True)

    def _batch(
        self, rotation: RotationRow, place: str, after: RowKey | None, end: RowKey | None
    ) -> tuple[list[WrappedRow], int]:
        """Rewrap one batch; what was found, and how many of it Vault rewrapped."""
        with self._uow.begin() as tx:
            taken = tx.wrapped.take(
                place, rotation.key, rotation.target, after=after, end=end, limit=MAX_BATCH
            )
            if not taken:
                return [], 0
            held = self._held(tx, taken)
            results = self._rotator.rewrap([each.wrapped for each in held])
            done = [
                WrappedRow(row=each.row, wrapped=result, bound=each.bound)
                for each, result in zip(held, results, strict=True)
                if isinstance(result, WrappedKey) and result.kek_version >= rotation.target
            ]
            if done:
                entry = new_entry_id()
                commitments, done = _bound(entry, done)
                tx.wrapped.put(place, done)
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

    def _held(self, tx: Transaction, taken: list[WrappedRow]) -> list[WrappedRow]:
        """Those that are bound as the ledger says; rewrapping another would make it pass for one.

        What is left counts as refused, so that the rotation halts and somebody looks.
        """
        claims = {each.row: bindings.claim(each.bound) for each in taken if each.bound is not None}
        broken = bindings.unbound(tx.bindings, claims)
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


def _bound(entry: str, done: list[WrappedRow]) -> tuple[dict[str, str], list[WrappedRow]]:
    """The commitment of a batch, and its rows with their new bindings."""
    bound = [
        (each, row, bindings.leaf(row.token, row.version, each.wrapped, row.envelope_hash))
        for each in done
        if (row := each.bound) is not None
    ]
    commitments, made = bindings.bind(UUID(entry), [leaf for _, _, leaf in bound])
    if not made:
        return commitments, done
    return commitments, [
        WrappedRow(
            row=each.row,
            wrapped=each.wrapped,
            bound=BoundRow(
                bucket=row.bucket,
                token=row.token,
                version=row.version,
                wrapped=each.wrapped,
                envelope_hash=row.envelope_hash,
                binding=binding,
            ),
        )
        for (each, row, _), binding in zip(bound, made, strict=True)
    ]
