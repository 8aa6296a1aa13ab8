"""Brings rotations to their end: what the worker does with those that were asked for or are due.

    requested -> running -> verifying -> done
                    |  ^________|
                  failed, until somebody asks again

1. `requested`: the newest version is remembered, then Vault makes the next and forbids the older
   ones to wrap, and the floor in the database rises. A repetition makes no second version.
2. `running`: passes of rewrapping until nothing is left below the new version. Where a pass leads
   to nothing because Vault refuses what is left, the rotation halts as `failed`, with an alarm, and
   nothing is retired.
3. `verifying`: nothing was left. After the time in which a pool or a request may still hold a key
   of the old version it is counted again; anything found leads back to `running`.
4. `done`: Vault refuses the older versions from here on, and the ledger holds a certificate.

A signing key has nothing to rewrap, and its older versions stay to verify: it is done when it has
begun. Once no backup from before a rotation is kept any more, what it retired is deleted in Vault.

Every step changes its row only from the state that it found, so several workers may try the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from vault_service.ledger.entries import Event
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.key_census import KeyCensus
from vault_service.services.key_rotation import KeyRotation
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.rewrapping import ACTOR, Rewrapping
from vault_service.services.rotation_ports import KeyRotator, Reason, RotationRow, RotationState
from vault_service.services.rotations import ask

PERIOD: Final = 5.0
# Seconds between looks at the ages of keys.
LOOK_EVERY: Final = 300.0
# A pool keeps a key for 60 seconds at most; then a request has three more, and clocks differ.
SETTLE: Final = timedelta(seconds=90)
HALTED: Final = "rotation_halted"


class RotationWork:
    """The worker's duty towards rotations.

    Args:
        uow: the worker's units of work.
        rotator: Vault's role `rotate`.
        key_rotation: begins a rotation in Vault and in the database.
        rewrapping: walks the wrapped keys.
        census: counts them.
        periods: the keys that are rotated by themselves, and how old a version may become.
        signing: those of the keys that sign.
        indexes: keys that a command rotates (`reindexing`); what they retired is deleted here.
        audit: makes the entries.
        alarms: raises alarms.
        horizon: how long a backup is kept; retired versions are never deleted, if None.
        settle: how long after nothing was left it is counted again.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        rotator: KeyRotator,
        key_rotation: KeyRotation,
        rewrapping: Rewrapping,
        census: KeyCensus,
        periods: Mapping[str, timedelta],
        signing: frozenset[str],
        audit: Audit,
        alarms: Alarms,
        indexes: frozenset[str] = frozenset(),
        horizon: timedelta | None = None,
        settle: timedelta = SETTLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uow = uow
        self._rotator = rotator
        self._key_rotation = key_rotation
        self._rewrapping = rewrapping
        self._census = census
        self._periods = periods
        self._signing = signing
        self._indexes = indexes
        self._audit = audit
        self._alarms = alarms
        self._horizon = horizon
        self._settle = settle
        self._clock = clock
        self._looked: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Ask for what is due, and bring every live rotation as far as it goes now.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: Vault did not do its part.
            Unavailable: the database is away. The next round goes on where this one was.
        """
        if self._looked is None or self._clock() - self._looked >= LOOK_EVERY:
            self.ask_for_due()
            self.trim()
            self._looked = self._clock()
        with self._uow.begin(read_only=True) as tx:
            live = tx.rotations.live()
        for rotation in (each for each in live if each.key not in self._indexes):
            row: RotationRow | None = rotation
            while row is not None and not stop.is_set():
                row = self._step(row, stop)

    def ask_for_due(self) -> None:
        """Ask for the rotation of each key whose newest version is older than its period.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady: Vault could not be asked.
            Unavailable: the database is away.
        """
        for key, period in self._periods.items():
            info = self._rotator.read(key)
            with self._uow.begin() as tx:
                born = info.created.get(info.latest_version)
                if born is None or tx.clock.now() - born < period:
                    continue
                if all(each.key != key for each in tx.rotations.live()):
                    ask(tx, self._audit, ACTOR, key, Reason.PERIOD)

    def trim(self) -> None:
        """Delete in Vault what was retired before the oldest backup that is kept.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: Vault did not do its part.
            Unavailable: the database is away.
        """
        if self._horizon is None:
            return
        keys = sorted((self._periods.keys() - self._signing) | self._indexes)
        with self._uow.begin(read_only=True) as tx:
            due = tx.rotations.trimmable(keys, self._horizon)
        for row in due:
            self._rotator.trim(row.key, row.target)
            with self._uow.begin() as tx:
                if tx.rotations.trimmed(row.id):
                    tx.outbox.append(
                        self._audit.entries(
                            Event.VAULT_KEY_TRIMMED,
                            ACTOR,
                            at=tx.clock.now(),
                            key=row.key,
                            details={"from_version": row.from_version or 0, "version": row.target},
                        )
                    )

    def _step(self, row: RotationRow, stop: threading.Event) -> RotationRow | None:
        """One step; the row as it leads to the next, or None where nothing more is due now."""
        match row.state:
            case RotationState.REQUESTED:
                return self._begin(row)
            case RotationState.RUNNING:
                return self._end(row) if row.key in self._signing else self._rewrap(row, stop)
            case RotationState.VERIFYING:
                return self._verify(row)
            case _:
                return None

    def _begin(self, row: RotationRow) -> RotationRow | None:
        with self._uow.begin() as tx:
            held = tx.rotations.lock(row.id, RotationState.REQUESTED)
            if held is None:
                return None
            known = held.from_version
            if known is None:
                known = self._rotator.read(held.key).latest_version
                tx.rotations.know(held.id, known)
        # Kept for certain before Vault is told: whoever repeats this finds it.
        total = self._census.below(row.key, known + 1)
        with self._uow.begin() as tx:
            if tx.rotations.lock(row.id, RotationState.REQUESTED) is None:
                return None
            begun = self._key_rotation.begin(ACTOR, row.key, known=known)
            tx.rotations.begin(row.id, begun.to_version, total)
            return tx.rotations.get(row.id)

    def _rewrap(self, row: RotationRow, stop: threading.Event) -> RotationRow | None:
        passed = self._rewrapping.rewrap(row, stop)
        if not passed.whole:
            return None
        left = self._census.below(row.key, row.target)
        if not left:
            with self._uow.begin() as tx:
                return tx.rotations.move(row.id, RotationState.RUNNING, RotationState.VERIFYING)
        if passed.rewrapped:
            return row
        if passed.refused:
            self._halt(row, left)
        # Else others hold what is left, and it is looked at in the next round.
        return None

    def _halt(self, row: RotationRow, left: int) -> None:
        """Stop where Vault refuses what is left: it was changed, or moved from elsewhere."""
        with self._uow.begin() as tx:
            if not tx.rotations.move(
                row.id, RotationState.RUNNING, RotationState.FAILED, failed=left
            ):
                return
            self._alarms.raise_in(
                tx, HALTED, ACTOR, subject=row.key, key=row.key, observed=left, limit=0
            )

    def _verify(self, row: RotationRow) -> RotationRow | None:
        if row.clear_at is None or row.now - row.clear_at < self._settle:
            return None
        if self._census.below(row.key, row.target):
            with self._uow.begin() as tx:
                return tx.rotations.move(row.id, RotationState.VERIFYING, RotationState.RUNNING)
        self._rotator.retire(row.key, row.target)
        return self._end(row)

    def _end(self, row: RotationRow) -> RotationRow | None:
        with self._uow.begin() as tx:
            done = tx.rotations.move(row.id, row.state, RotationState.DONE, failed=0)
            if done is not None:
                self._certify(tx, done, halted=bool(row.failed))
        return done

    def _certify(self, tx: Transaction, row: RotationRow, *, halted: bool) -> None:
        retired = row.key not in self._signing
        tx.outbox.append(certificate(self._audit, ACTOR, row, at=tx.clock.now(), retired=retired))
        if halted:
            self._alarms.clear_in(tx, HALTED, ACTOR, subject=row.key, key=row.key)


def certificate(
    audit: Audit, by: str, row: RotationRow, *, at: datetime, retired: bool
) -> list[OutboxEntry]:
    """The entries at a rotation's end: its certificate, and that the older versions are retired."""
    versions = {"from_version": row.from_version or 0, "to_version": row.target}
    entries = audit.entries(
        Event.ROTATION_CERTIFICATE,
        by,
        at=at,
        key=row.key,
        details={
            **versions,
            "rotation": row.id,
            "total": row.total,
            "rewrapped": row.rewrapped,
            "remaining": 0,
            "started_at": int((row.started_at or at).timestamp()),
            "finished_at": int((row.finished_at or at).timestamp()),
            "by": row.requested_by,
        },
    )
    if retired:
        entries += audit.entries(
            Event.VAULT_KEY_RETIRED,
            by,
            at=at,
            key=row.key,
            details={**versions, "min_decryption": row.target, "rotation": row.id},
        )
    return entries
