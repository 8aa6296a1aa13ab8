"""The worker's duty of erasing customers: batch by batch, and a certificate at the end.

Each batch is one unit of work with its ledger entries, so a worker that dies leaves nothing half
done, and the next goes on. An erasure is finished when nothing was found twice, `SETTLE` apart: a
record that was being written when the erasure began is committed or gone by then, because a
statement runs for seconds at most, and the last look waits for whoever still writes.
"""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Final

import structlog

from vault_service.domain.classes import DataClass
from vault_service.domain.tokens import BUCKETS
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit, new_entry_id
from vault_service.services.customer_erasure import shown
from vault_service.services.erasure_ports import ErasureRow
from vault_service.services.ports import Transaction, UnitOfWork

ACTOR: Final = "worker"
# Seconds between rounds.
PERIOD: Final = 5.0
# Records of one transaction: small enough that nobody waits for its locks.
BATCH: Final = 500
# Erasures of one round; the next comes soon.
MANY: Final = 100
SETTLE: Final = timedelta(seconds=60)
# Buckets whose kept answers are looked through at a time, so that a statement stays short.
BUCKETS_AT_ONCE: Final = 64

_log = structlog.get_logger(__name__)


class Erasing:
    """The worker's duty. Needs the worker's database role.

    Args:
        uow: the worker's units of work.
        audit: makes the entries.
        horizon_days: how long a backup is kept, 0 where nobody said so.
        settle: between the two looks that find nothing.
    """

    def __init__(
        self, *, uow: UnitOfWork, audit: Audit, horizon_days: int, settle: timedelta = SETTLE
    ) -> None:
        self._uow = uow
        self._audit = audit
        self._horizon_days = horizon_days
        self._settle = settle

    def run(self, stop: threading.Event) -> None:
        """Carry every erasure that is under way on as far as it goes now.

        Raises:
            Unavailable: the database is; what was erased stays so.
        """
        with self._uow.begin(read_only=True) as tx:
            running = tx.erasures.running(MANY)
        for bucket, customer in running:
            while not stop.is_set() and self._batch(bucket, customer):
                pass
            if not stop.is_set():
                self._conclude(bucket, customer)

    def _batch(self, bucket: int, customer: str) -> int:
        """Erase some of a customer's records; how many, none while a rival is at it."""
        with self._uow.begin() as tx:
            if tx.erasures.lock(bucket, customer) is None:
                return 0
            gone: list[str] = []
            for data_class in DataClass:
                gone += tx.erasures.erase(bucket, customer, data_class, BATCH - len(gone))
                if len(gone) == BATCH:
                    break
            if gone:
                tx.modifications.forget([(bucket, token) for token in gone])
                tx.erasures.add(bucket, customer, len(gone))
                tx.outbox.append(
                    self._audit.entries(
                        Event.TOKENS_ERASED,
                        ACTOR,
                        at=tx.clock.now(),
                        customer=customer,
                        tokens=gone,
                    )
                )
        return len(gone)

    def _conclude(self, bucket: int, customer: str) -> None:
        with self._uow.begin() as tx:
            row = tx.erasures.lock(bucket, customer)
            if row is None:
                return
            if row.clear_at is None:
                tx.erasures.cleared(bucket, customer)
            if row.clear_at is None or row.now - row.clear_at < self._settle:
                return
        for low in range(0, BUCKETS, BUCKETS_AT_ONCE):
            with self._uow.begin() as tx:
                tx.erasures.forget_answers(low, low + BUCKETS_AT_ONCE, customer)
        with self._uow.begin() as tx:
            row = tx.erasures.lock(bucket, customer)
            if row is None:
                return
            if tx.erasures.settle(bucket, customer):
                tx.erasures.add(bucket, customer, 0)
                return
            self._certify(tx, row)
        _log.info("customer erased", count=row.records)

    def _certify(self, tx: Transaction, row: ErasureRow) -> None:
        tx.modifications.forget_all(row.bucket, row.customer)
        salts = tx.erasures.forget_salts(row.bucket, row.customer)
        entry = new_entry_id()
        done = tx.erasures.finish(
            row.bucket, row.customer, horizon_days=self._horizon_days, entry=uuid.UUID(entry)
        )
        told: dict[str, str | int] = {
            "requested_by": done.requested_by,
            "confirmed_by": str(done.confirmed_by),
            "started_at": (done.started_at or done.now).isoformat(),
            "finished_at": (done.finished_at or done.now).isoformat(),
            "salts": salts,
            "backup_horizon_days": self._horizon_days,
        }
        until = shown(done).backups_until
        if until is not None:
            told["backups_until"] = until.isoformat()
        tx.outbox.append(
            self._audit.entries(
                Event.CUSTOMER_ERASED,
                ACTOR,
                at=done.now,
                entry_id=entry,
                customer=done.customer,
                count=done.records,
                details=told,
            )
        )
