"""Rotates the key of a class's fingerprints: indexes every value of the class under a new version.

A fingerprint comes from the value, so each value is opened once. That is why this is a command
that a person has run, with the schema owner's login and Vault's roles `reveal`, `ingest` and
`rotate`, and no duty of a process that runs all day. Values live for one batch and leave it
nowhere.

    requested -> running -> verifying -> done
                    |
                  failed, until the command is run again

1. The version in force is pinned in the database; then Vault makes the next and goes on to compute
   under both. Nobody may write under the next yet.
2. The switch: one transaction waits for all who are writing a record, keeps the others out, and
   has the class written under the new version. Whoever brings the old one after it is refused by
   the statement and computes anew; whoever writes a value under the new one first brings the
   record that holds it along (`indexing`).
3. Passes: open, normalise, fingerprint, replace where the fingerprint is still the one that was
   read. Nothing is locked while Vault is asked, and no lock is waited for.
4. Nothing is left below, twice; Vault computes nothing under the old version from here on; the
   ledger holds a certificate. What cannot be indexed keeps the old version in force.

Each step can be repeated, and several processes may do it together. docs/adr/0026 argues it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keys.data_keys import MAX_BATCH
from keys.envelope import Context, open_
from keys.errors import CiphertextRejected
from keys.fingerprint import key_of
from keys.secret import Secret
from vault_service.domain.classes import DataClass
from vault_service.domain.values import normalised
from vault_service.errors import Conflict, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import bindings
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.crypto_ports import Fingerprinting, Unwrapping
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.record_ports import SealedRecord
from vault_service.services.reindex_ports import SHARDS, IndexedRecord, IndexKeys, Reindexed
from vault_service.services.rotation_ports import Reason, RotationRow, RotationState
from vault_service.services.rotation_work import HALTED, certificate
from vault_service.services.rotations import ask

ACTOR: Final = "reindexing"
# Seconds between the two counts, between looks at what another process does, and between tries to
# find a moment in which nobody writes for long.
PAUSE: Final = 5.0
# How often a switch is tried: a writer that hangs is ended by his own timeouts long before.
SWITCHES: Final = 60
# Passes that do nothing, before what is left counts as what cannot be indexed.
IDLE: Final = 3
# Tokens of what is left that a report names.
SHOWN: Final = 100

CLASSES: Final = frozenset(
    (
        DataClass.PAYMENT_CARD,
        DataClass.TELEPHONE,
        DataClass.BUSINESS_NAME,
        DataClass.CONTACT_NAME,
        DataClass.EMAIL_ADDRESS,
        DataClass.POSTAL_ADDRESS,
        DataClass.SERVICE_CHOICE,
    )
)
KEYS: Final[Mapping[str, DataClass]] = {key_of(each.value): each for each in CLASSES}
# What cannot be computed anew from anything that is kept.
NEVER: Final[Mapping[str, str]] = {
    key_of("customer_ref"): "customers' ids come from it, and their references are not kept",
    key_of("request"): "it binds requests, which are not kept; its old versions end with them",
    key_of(DataClass.COMMUNICATION.value): "ids of unknown senders come from it, and deliveries"
    " are not kept",
    "honeytoken": "marks are made with it anew when honeytokens are planted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reindexing:
    """What a process did.

    Attributes:
        rotation: as it stands.
        done: records that this process indexed.
        left: tokens of some that could not be; empty unless the rotation halted.
    """

    rotation: RotationRow
    done: int
    left: tuple[str, ...] = ()


class Reindexer:
    """The use case. Needs the schema owner's login, and Vault's `reveal`, `ingest` and `rotate`.

    Args:
        uow: the schema owner's units of work.
        keys: Vault's role `rotate`.
        unwrapping: opens data keys.
        fingerprints: makes fingerprints.
        audit: makes the entries.
        alarms: raises alarms.
        pause: seconds between looks.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        keys: IndexKeys,
        unwrapping: Unwrapping,
        fingerprints: Fingerprinting,
        audit: Audit,
        alarms: Alarms,
        pause: float = PAUSE,
    ) -> None:
        self._uow = uow
        self._keys = keys
        self._unwrapping = unwrapping
        self._fingerprints = fingerprints
        self._audit = audit
        self._alarms = alarms
        self._pause = pause

    def run(
        self, name: str, *, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> Reindexing:
        """Rotate a class's key and index the class anew; goes on with a run that has not ended.

        Args:
            name: the class, or its key.
            progress: told how many this process has indexed, and of how many at the start.

        Raises:
            NotFound: no values are indexed under such a key.
            Conflict: this one cannot be indexed anew.
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: batches before stay done.
            Unavailable: the database is; batches before stay done.
        """
        data_class = _named(name)
        row, _ = self._uow.run(
            lambda tx: ask(tx, self._audit, ACTOR, key_of(data_class.value), Reason.ASKED)
        )
        done = idle = 0
        while row.state is not RotationState.DONE:
            if row.state is RotationState.REQUESTED:
                row = self._begin(row, data_class)
            elif row.state is RotationState.RUNNING:
                before = done
                done += self._pass(row, data_class, done, progress)
                idle = 0 if done > before else idle + 1
                row = self._look(row, data_class, idle=idle)
            elif row.state is RotationState.VERIFYING:
                row = self._verify(row, data_class)
            else:
                return Reindexing(rotation=row, done=done, left=self._left(row, data_class))
        return Reindexing(rotation=row, done=done)

    # ------------------------------------------------------------ beginning

    def _begin(self, row: RotationRow, data_class: DataClass) -> RotationRow:
        """Pin the version in force, have Vault make the next, and switch to it."""
        known = self._pin(row, data_class)
        if known is None:
            time.sleep(self._pause)
            return self._reread(row)
        total = self._below(data_class, known + 1)
        for _ in range(SWITCHES):
            try:
                with self._uow.begin() as tx:
                    self._switch(tx, row, data_class, known=known, total=total)
            except Unavailable:
                # Somebody was writing for longer than others can be kept waiting.
                time.sleep(self._pause * random.uniform(0.05, 0.2))  # noqa: S311 -- a pause
            else:
                return self._reread(row)
        raise Unavailable("records are written without a pause", code="rotation_under_way")

    def _pin(self, row: RotationRow, data_class: DataClass) -> int | None:
        """The version that the class is written under; None where a rival begins the rotation.

        Kept for certain before Vault makes another: from then on nobody writes under one that
        comes up while others still write under this one.
        """
        with self._uow.begin() as tx:
            held = tx.rotations.lock(row.id, RotationState.REQUESTED)
            if held is None:
                return None
            known = held.from_version
            if known is None:
                pinned = tx.fingerprints.versions().get(data_class.value)
                known = pinned or self._keys.read(row.key).latest_version
                tx.rotations.know(row.id, known)
            tx.fingerprints.pin(data_class.value, known)
        return known

    def _switch(
        self, tx: Transaction, row: RotationRow, data_class: DataClass, *, known: int, total: int
    ) -> None:
        if tx.rotations.lock(row.id, RotationState.REQUESTED) is None:
            return
        begun = self._keys.renew(row.key, known=known)
        tx.fingerprints.switch(data_class.value, begun.to_version)
        tx.rotations.begin(row.id, begun.to_version, total)
        tx.outbox.append(
            self._audit.entries(
                Event.VAULT_KEY_ROTATED,
                ACTOR,
                at=tx.clock.now(),
                key=row.key,
                details={"from_version": known, "to_version": begun.to_version},
            )
        )

    # ------------------------------------------------------------ indexing

    def _pass(
        self,
        row: RotationRow,
        data_class: DataClass,
        before: int,
        progress: Callable[[int, int], None],
    ) -> int:
        """Once through all shards, in an order of this process's own; how many were indexed."""
        done = 0
        shards = list(range(SHARDS))
        random.shuffle(shards)
        for shard in shards:
            after: tuple[int, str] | None = None
            while True:
                with self._uow.begin(read_only=True) as tx:
                    taken = tx.fingerprints.take(
                        data_class.value, row.target, shard, after, MAX_BATCH
                    )
                if not taken:
                    break
                done += self._batch(row, data_class, taken)
                progress(before + done, row.total)
                after = (taken[-1].record.bucket, taken[-1].record.token)
        return done

    def _batch(
        self, row: RotationRow, data_class: DataClass, taken: Sequence[IndexedRecord]
    ) -> int:
        held = self._held(taken)
        keys = self._unwrapping.unwrap([each.record.wrapped_key for each in held])
        found = [
            (each, value)
            for each, key in zip(held, keys, strict=True)
            if (value := _value(each.record, key, data_class)) is not None
        ]
        made = self._fingerprints.compute(
            [(data_class.value, value) for _, value in found],
            versions={data_class.value: row.target},
        )
        renewed = {
            # Of two that turn out to be one value, the second has to wait for the next pass.
            (each.record.customer, fingerprint.digest): Reindexed(
                bucket=each.record.bucket,
                token=each.record.token,
                before=each.fingerprint,
                fingerprint=fingerprint.digest,
            )
            for (each, _), fingerprint in zip(found, made, strict=True)
        }
        return self._uow.run(lambda tx: self._put(tx, row, list(renewed.values())))

    def _put(self, tx: Transaction, row: RotationRow, renewed: Sequence[Reindexed]) -> int:
        done = tx.fingerprints.put(renewed, row.target) if renewed else 0
        if done:
            tx.outbox.append(
                self._audit.entries(
                    Event.RECORDS_REINDEXED,
                    ACTOR,
                    at=tx.clock.now(),
                    key=row.key,
                    count=done,
                    details={"rotation": row.id, "to_version": row.target},
                )
            )
            tx.rotations.add(row.id, done)
        return done

    def _held(self, taken: Sequence[IndexedRecord]) -> list[IndexedRecord]:
        """Those that are bound as the ledger says: another value would pass for the record's."""
        claims = {each.record.token: bindings.claim_sealed(each.record) for each in taken}
        with self._uow.begin() as tx:
            broken = bindings.unbound(tx.bindings, claims)
            for token in sorted(broken):
                self._alarms.raise_in(
                    tx,
                    bindings.SUBSTITUTED,
                    ACTOR,
                    subject=token,
                    quiet=bindings.QUIET,
                    tokens=[token],
                )
        return [each for each in taken if each.record.token not in broken]

    # ------------------------------------------------------------ ending

    def _look(self, row: RotationRow, data_class: DataClass, *, idle: int) -> RotationRow:
        """After a pass: go on, count again, or halt where a pass leads to nothing any more."""
        left = self._below(data_class, row.target)
        if not left:
            with self._uow.begin() as tx:
                tx.rotations.move(row.id, RotationState.RUNNING, RotationState.VERIFYING)
        elif idle >= IDLE:
            with self._uow.begin() as tx:
                if tx.rotations.move(
                    row.id, RotationState.RUNNING, RotationState.FAILED, failed=left
                ):
                    self._alarms.raise_in(
                        tx, HALTED, ACTOR, subject=row.key, key=row.key, observed=left, limit=0
                    )
        elif idle:
            time.sleep(self._pause)
        return self._reread(row)

    def _verify(self, row: RotationRow, data_class: DataClass) -> RotationRow:
        time.sleep(self._pause)
        if self._below(data_class, row.target):
            with self._uow.begin() as tx:
                tx.rotations.move(row.id, RotationState.VERIFYING, RotationState.RUNNING)
            return self._reread(row)
        self._keys.outdate(row.key, row.target)
        counted = self._count(data_class)
        with self._uow.begin() as tx:
            done = tx.rotations.move(row.id, RotationState.VERIFYING, RotationState.DONE, failed=0)
            if done is not None:
                tx.census.put(row.key, counted)
                tx.outbox.append(
                    certificate(self._audit, ACTOR, done, at=tx.clock.now(), retired=True)
                )
                if done.failed or row.failed:
                    self._alarms.clear_in(tx, HALTED, ACTOR, subject=row.key, key=row.key)
        return done or self._reread(row)

    def _reread(self, row: RotationRow) -> RotationRow:
        with self._uow.begin(read_only=True) as tx:
            return tx.rotations.get(row.id) or row

    def _count(self, data_class: DataClass) -> dict[int, int]:
        """How many records of a class lie under each version."""
        counted: dict[int, int] = {}
        for shard in range(SHARDS):
            with self._uow.begin(read_only=True) as tx:
                for (name, version), count in tx.fingerprints.count(shard).items():
                    if name == data_class:
                        counted[version] = counted.get(version, 0) + count
        return counted

    def _below(self, data_class: DataClass, version: int) -> int:
        counted = self._count(data_class)
        return sum(count for under, count in counted.items() if under < version)

    def _left(self, row: RotationRow, data_class: DataClass) -> tuple[str, ...]:
        with self._uow.begin(read_only=True) as tx:
            return tuple(tx.fingerprints.left(data_class.value, row.target, SHOWN))


def _named(name: str) -> DataClass:
    """The class of this name or of the key of this name.

    Raises:
        NotFound: there is none.
        Conflict: it cannot be indexed anew.
    """
    key = name if name in KEYS or name in NEVER else key_of(name)
    if key in NEVER:
        raise Conflict(f"{key} cannot be indexed anew: {NEVER[key]}", code="key_not_reindexed")
    if key not in KEYS:
        raise NotFound("no values are indexed under such a key", code="vault_key_not_found")
    return KEYS[key]


def _value(
    record: SealedRecord, key: Secret | CiphertextRejected, data_class: DataClass
) -> bytes | None:
    """What a record is found by; None where it does not open, or would not be taken today."""
    if isinstance(key, CiphertextRejected):
        return None
    context = Context(
        token=record.token,
        customer=record.customer,
        data_class=record.data_class,
        record_version=record.version,
    )
    try:
        return normalised(data_class, open_(key, record.envelope, context))
    except (CiphertextRejected, InvalidInput):
        return None
