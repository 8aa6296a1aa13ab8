"""The repository of erasures of customers. What destroys stands in the owner's functions."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from vault_service.domain.classes import DataClass
from vault_service.services.erasure_ports import ErasureRow, ErasureState
from vault_service.storage.session import Row, Session

_COLUMNS: Final = (
    b"bucket, customer, state, requested_by, requested_at, confirmed_by, started_at, records,"
    b" clear_at, finished_at, backup_horizon_days, entry, now()"
)
_OF: Final = b" WHERE bucket = %b AND customer = %b"
_INSERT: Final = b"""
INSERT INTO erasures (bucket, customer, requested_by) VALUES (%b, %b, %b)
ON CONFLICT (bucket, customer) DO NOTHING RETURNING customer
"""
_GET: Final = b"SELECT " + _COLUMNS + b" FROM erasures" + _OF
_PAGE: Final = (
    b"SELECT "
    + _COLUMNS
    + b" FROM erasures WHERE (bucket, customer) > (%b::smallint, %b::text)"
    + b" ORDER BY bucket, customer LIMIT %b"
)
_CONFIRM: Final = (
    b"UPDATE erasures SET state = 'running', confirmed_by = %(by)b, started_at = now()"
    b" WHERE bucket = %(bucket)b AND customer = %(customer)b AND state = 'requested'"
    b" AND requested_by <> %(by)b RETURNING " + _COLUMNS
)
_BEGIN: Final = b"SELECT customer FROM begin_erasure(%b::smallint, %b)"
_RUNNING: Final = b"""
SELECT bucket, customer FROM erasures WHERE state = 'running' ORDER BY started_at LIMIT %b
"""
_LOCK: Final = _GET + b" AND state = 'running' FOR NO KEY UPDATE SKIP LOCKED"
_ERASE: Final = b"SELECT token FROM erase_records_of(%b::smallint, %b, %b, %b::integer)"
_ERASE_ACTIVITY: Final = b"SELECT id FROM erase_activity_of(%b::smallint, %b, %b::integer)"
_ACTIVITY_LEFT: Final = b"""
SELECT count(*) FROM (
    SELECT FROM activity_segments WHERE bucket = %b AND customer = %b LIMIT 1
) AS s
"""
_ADD: Final = b"UPDATE erasures SET records = records + %b, clear_at = NULL" + _OF
_CLEARED: Final = b"UPDATE erasures SET clear_at = now()" + _OF
_SETTLE: Final = b"SELECT remaining FROM settle_erasure(%b::smallint, %b)"
_ANSWERS: Final = b"SELECT count(*) FROM forget_answers(%b::smallint, %b::smallint, %b)"
_SALTS: Final = b"SELECT count(*) FROM forget_salts(%b::smallint, %b)"
_FINISH: Final = (
    b"UPDATE erasures SET state = 'done', finished_at = now(), backup_horizon_days = %b,"
    b" entry = %b" + _OF + b" RETURNING " + _COLUMNS
)


class SqlErasures:
    """Erasures of customers."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, bucket: int, customer: str, by: str) -> bool:
        """Ask for an erasure; False when it was asked for before."""
        return bool(self._session.rows(_INSERT, (bucket, customer, by)))

    def get(self, bucket: int, customer: str) -> ErasureRow | None:
        """The erasure of one customer."""
        return _one(self._session.rows(_GET, (bucket, customer)))

    def page(self, after: tuple[int, str] | None, limit: int) -> list[ErasureRow]:
        """Erasures in the order of bucket and customer, after one."""
        bucket, customer = after or (-1, "")
        return [_erasure(row) for row in self._session.rows(_PAGE, (bucket, customer, limit))]

    def confirm(self, bucket: int, customer: str, by: str) -> ErasureRow | None:
        """Move to running, if another asked for it and nobody has confirmed it."""
        values = {"by": by, "bucket": bucket, "customer": customer}
        return _one(self._session.rows(_CONFIRM, values))

    def begin(self, bucket: int, customer: str) -> bool:
        """Let the customer be unknown from now on; False where a legal hold stands."""
        return bool(self._session.rows(_BEGIN, (bucket, customer)))

    def running(self, limit: int) -> list[tuple[int, str]]:
        """(bucket, customer) of erasures under way, oldest first."""
        return [(row[0], row[1]) for row in self._session.rows(_RUNNING, (limit,))]

    def lock(self, bucket: int, customer: str) -> ErasureRow | None:
        """A running erasure, locked; None where it is done or a rival has it."""
        return _one(self._session.rows(_LOCK, (bucket, customer)))

    def erase(self, bucket: int, customer: str, data_class: str, limit: int) -> list[str]:
        """Destroy up to `limit` of his records of a class; their tokens."""
        if data_class == DataClass.ACTIVITY_LOG:
            rows = self._session.rows(_ERASE_ACTIVITY, (bucket, customer, limit))
        else:
            rows = self._session.rows(_ERASE, (bucket, customer, data_class, limit))
        return [row[0] for row in rows]

    def add(self, bucket: int, customer: str, records: int) -> None:
        """Count what was destroyed; it is not clear whether that was all."""
        self._session.defer(_ADD, (records, bucket, customer))

    def cleared(self, bucket: int, customer: str) -> None:
        """Note that nothing was found any more."""
        self._session.defer(_CLEARED, (bucket, customer))

    def settle(self, bucket: int, customer: str) -> int:
        """Lock the customer against writers, and count the records that are left."""
        left = int(self._session.rows(_SETTLE, (bucket, customer))[0][0])
        return left + int(self._session.rows(_ACTIVITY_LEFT, (bucket, customer))[0][0])

    def forget_answers(self, low: int, end: int, customer: str) -> int:
        """Delete kept answers of these buckets that name him; how many."""
        return int(self._session.rows(_ANSWERS, (low, end, customer))[0][0])

    def forget_salts(self, bucket: int, customer: str) -> int:
        """Delete the salts of commitments to texts about him; of how many disclosures."""
        return int(self._session.rows(_SALTS, (bucket, customer))[0][0])

    def finish(self, bucket: int, customer: str, *, horizon_days: int, entry: UUID) -> ErasureRow:
        """Move to done."""
        rows = self._session.rows(_FINISH, (horizon_days, entry, bucket, customer))
        return _erasure(rows[0])


def _one(rows: list[Row]) -> ErasureRow | None:
    return _erasure(rows[0]) if rows else None


def _erasure(row: Row) -> ErasureRow:
    return ErasureRow(
        bucket=row[0],
        customer=row[1],
        state=ErasureState(row[2]),
        requested_by=row[3],
        requested_at=row[4],
        confirmed_by=row[5],
        started_at=row[6],
        records=row[7],
        clear_at=row[8],
        finished_at=row[9],
        backup_horizon_days=row[10],
        entry=row[11],
        now=row[12],
    )
