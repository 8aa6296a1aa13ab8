"""Seals every value under a KEK anew: new data keys, new envelopes, for when old ones are known.

Rewrapping keeps the data keys; whoever has one, or had the KEK, opens the envelope for ever. This
opens each value and seals it under a data key that nobody has seen. So it is the one thing besides
reveal that may open values, and it is no duty of a process that runs all day: it runs while a
person has it run, in a process of its own that holds Vault's roles `reveal` and `ingest` and the
schema owner's login for as long as that takes. Values live for one batch and leave it nowhere.

Each batch is a unit of work: lock a shard and its next records, have Vault unwrap, seal anew,
replace envelope, wrapped key and binding by one statement where the wrapped key is still the one
that was read, tell the ledger, note how far the shard is. A process that dies leaves its last batch
undone; whoever starts it again goes on from there, and several share a run shard by shard. A reveal
reads a row in one statement, so it has the old pair or the new one, and both open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from msgspec import structs

from keys.data_keys import MAX_BATCH, DataKey
from keys.envelope import Context, open_, seal
from keys.errors import CiphertextRejected
from keys.secret import Secret
from vault_service.domain import tokens as names
from vault_service.errors import NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import bindings
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit, new_entry_id
from vault_service.services.crypto_ports import DataKeys, Unwrapping
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.record_ports import SealedRecord
from vault_service.services.reencryption_ports import Ended, Resealed, Shard

ACTOR: Final = "reencryption"
# Tries at fresh data keys, where rotations begin between the drawing and the writing.
DRAWS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reencrypted:
    """What a process did; `ended` where it brought the run to its end."""

    run: str
    done: int
    refused: int
    ended: Ended | None


class Reencryption:
    """The use case. Needs the schema owner's login, and Vault's roles `reveal` and `ingest`.

    Args:
        uow: the schema owner's units of work.
        unwrapping: opens data keys.
        data_keys: makes new ones.
        keks: the key-encryption keys of records.
        audit: makes the entries.
        alarms: raises alarms.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        unwrapping: Unwrapping,
        data_keys: DataKeys,
        keks: frozenset[str],
        audit: Audit,
        alarms: Alarms,
    ) -> None:
        self._uow = uow
        self._unwrapping = unwrapping
        self._data_keys = data_keys
        self._keks = keks
        self._audit = audit
        self._alarms = alarms

    def run(self, key: str, *, progress: Callable[[int], None] = lambda _: None) -> Reencrypted:
        """Seal anew what lies under a KEK; goes on with a run that has not ended.

        Raises:
            NotFound: no records lie under a key of this name.
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: batches before stay done.
            Unavailable: the database is; batches before stay done.
        """
        if key not in self._keks:
            raise NotFound("no records lie under such a key", code="vault_key_not_found")
        with self._uow.begin() as tx:
            run = tx.reencryptions.open(names.new_rotation_id(), key, ACTOR)
        done = refused = 0
        while (batch := self._uow.run(lambda tx: self._batch(tx, run, key))) is not None:
            done, refused = done + batch[0], refused + batch[1]
            progress(done)
        return Reencrypted(run=run, done=done, refused=refused, ended=self._end(run))

    def _batch(self, tx: Transaction, run: str, key: str) -> tuple[int, int] | None:
        """One batch of one shard: how many were sealed anew and refused; None without a shard."""
        shard = tx.reencryptions.take(run)
        if shard is None:
            return None
        records = tx.reencryptions.records(shard, key, MAX_BATCH)
        resealed = self._reseal(tx, key, self._held(tx, records))
        done = self._write(tx, run, key, resealed) if resealed else 0
        self._advance(tx, shard, records, done)
        return done, len(records) - done

    @staticmethod
    def _advance(tx: Transaction, shard: Shard, records: Sequence[SealedRecord], done: int) -> None:
        tx.reencryptions.advance(
            shard,
            (records[-1].bucket, records[-1].token) if records else shard.after,
            done=done,
            refused=len(records) - done,
            last=len(records) < MAX_BATCH,
        )

    def _held(self, tx: Transaction, records: Sequence[SealedRecord]) -> list[SealedRecord]:
        """Those that are bound as the ledger says: another would pass for a genuine one."""
        claims = {each.token: bindings.claim_sealed(each) for each in records}
        broken = bindings.unbound(tx.bindings, claims)
        for token in sorted(broken):
            self._alarms.raise_in(
                tx, bindings.SUBSTITUTED, ACTOR, subject=token, quiet=bindings.QUIET, tokens=[token]
            )
        return [each for each in records if each.token not in broken]

    def _reseal(self, tx: Transaction, key: str, records: list[SealedRecord]) -> list[Resealed]:
        keys = self._unwrapping.unwrap([each.wrapped_key for each in records])
        opened = [
            (each, plain)
            for each, secret in zip(records, keys, strict=True)
            if (plain := _plain(each, secret)) is not None
        ]
        fresh = self._draw(tx, key, len(opened))
        return [
            _sealed(record, plain, data_key)
            for (record, plain), data_key in zip(opened, fresh, strict=True)
        ]

    def _draw(self, tx: Transaction, key: str, count: int) -> list[DataKey]:
        """Data keys that the database takes; those of a version from before a rotation are not."""
        floor = tx.floors.get().get(key, 0)
        for _ in range(DRAWS):
            drawn = self._data_keys.take(key, count)
            if all(each.wrapped.kek_version >= floor for each in drawn):
                return drawn
            self._data_keys.discard(key)
        raise Unavailable("no data key of the newest version could be made", code="key_not_ready")

    def _write(self, tx: Transaction, run: str, key: str, rows: Sequence[Resealed]) -> int:
        entry = new_entry_id()
        commitments, bound = bindings.bind(
            UUID(entry), [bindings.claim_sealed(each.record).leaf for each in rows]
        )
        done = tx.reencryptions.put(
            [
                replace(each, record=structs.replace(each.record, binding=binding))
                for each, binding in zip(rows, bound, strict=True)
            ]
        )
        tx.outbox.append(
            self._audit.entries(
                Event.RECORDS_REENCRYPTED,
                ACTOR,
                at=tx.clock.now(),
                entry_id=entry,
                commitments=commitments,
                key=key,
                count=done,
                details={"run": run},
            )
        )
        return done

    def _end(self, run: str) -> Ended | None:
        with self._uow.begin() as tx:
            ended = tx.reencryptions.end(run)
            if ended is not None:
                tx.outbox.append(
                    self._audit.entries(
                        Event.REENCRYPTION_CERTIFICATE,
                        ACTOR,
                        at=tx.clock.now(),
                        key=ended.key,
                        count=ended.done,
                        details={
                            "run": run,
                            "refused": ended.refused,
                            "started_at": int(ended.started_at.timestamp()),
                            "finished_at": int(ended.finished_at.timestamp()),
                        },
                    )
                )
        return ended


def _context(record: SealedRecord) -> Context:
    return Context(
        token=record.token,
        customer=record.customer,
        data_class=record.data_class,
        record_version=record.version,
    )


def _plain(record: SealedRecord, key: Secret | CiphertextRejected) -> bytes | None:
    """The value, or None where it does not open."""
    if isinstance(key, CiphertextRejected):
        return None
    try:
        return open_(key, record.envelope, _context(record))
    except CiphertextRejected:
        return None


def _sealed(record: SealedRecord, plain: bytes, key: DataKey) -> Resealed:
    return Resealed(
        record=structs.replace(
            record, envelope=seal(key, plain, _context(record)), wrapped_key=key.wrapped
        ),
        before=record.wrapped_key.ciphertext,
    )
