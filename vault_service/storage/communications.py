"""The repository of communications' chunks. A chunk is written once, while its upload lasts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from vault_service.services.communication_ports import KeptRow
from vault_service.storage.records import LIVE, MASKED, masked_record
from vault_service.storage.session import Session

_START: Final = b"INSERT INTO communications (bucket, token, customer) VALUES (%b, %b, %b)"
_ADD: Final = b"""
SELECT number FROM add_communication_chunks(%b::smallint, %b, %b::smallint, %b::bytea[])
"""
_KEEP: Final = b"SELECT kept_at FROM keep_communication(%b::smallint, %b, %b::bigint)"
_DROP: Final = b"SELECT token FROM drop_communication(%b::smallint, %b)"
_PAGE: Final = (
    b"SELECT "
    + MASKED
    + b", m.kept_at FROM communications AS m JOIN LATERAL (SELECT "
    + MASKED
    # Each looked up by its key, also by a plan that was made while the tables were empty.
    + b" FROM records AS r WHERE r.bucket = m.bucket AND r.token = m.token"
    + b" AND r.customer = m.customer AND "
    + LIVE
    + b" LIMIT 1) AS r ON true"
    + b" WHERE m.bucket = %(bucket)b AND m.customer = %(customer)b AND m.kept_at IS NOT NULL"
    + b" AND (%(at)b::timestamptz IS NULL"
    + b" OR (m.kept_at, m.token) < (%(at)b::timestamptz, %(token)b::text))"
    + b" ORDER BY m.kept_at DESC, m.token DESC LIMIT %(limit)b"
)
_SIZE: Final = b"SELECT size FROM communications WHERE bucket = %b AND token = %b"
_CHUNKS: Final = b"""
SELECT sealed FROM communication_chunks
WHERE bucket = %b AND token = %b AND number >= %b AND number < %b ORDER BY number
"""
_PURGE: Final = b"SELECT token FROM purge_communications(%b::interval, %b::integer)"


class SqlCommunications:
    """Chunks of communications."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(self, bucket: int, token: str, customer: str) -> None:
        """Begin an upload."""
        self._session.defer(_START, (bucket, token, customer))

    def add(self, bucket: int, token: str, first: int, sealed: Sequence[bytes]) -> bool:
        """Add chunks to an upload, from this number on; False where it is none any more."""
        added = self._session.rows(_ADD, (bucket, token, first, list(sealed)))
        return len(added) == len(sealed)

    def keep(self, bucket: int, token: str, size: int) -> None:
        """End an upload to which this unit of work has added: it is a communication now."""
        self._session.rows(_KEEP, (bucket, token, size))

    def drop(self, bucket: int, token: str) -> None:
        """Forget an upload; leaves alone what was kept."""
        self._session.rows(_DROP, (bucket, token))

    def page(
        self, bucket: int, customer: str, before: tuple[datetime, str] | None, limit: int
    ) -> list[KeptRow]:
        """A customer's live communications, newest first, after one by (time, token)."""
        at, token = before or (None, None)
        rows = self._session.rows(
            _PAGE,
            {"bucket": bucket, "customer": customer, "at": at, "token": token, "limit": limit},
        )
        return [KeptRow(record=masked_record(row), kept_at=row[-1]) for row in rows]

    def size(self, bucket: int, token: str) -> int | None:
        """How many bytes a communication has; None where there is none."""
        rows = self._session.rows(_SIZE, (bucket, token))
        return cast("int | None", rows[0][0]) if rows else None

    def chunks(self, bucket: int, token: str, first: int, count: int) -> list[bytes]:
        """Some chunks in their order, from this number on."""
        rows = self._session.rows(_CHUNKS, (bucket, token, first, first + count))
        return [bytes(row[0]) for row in rows]

    def purge(self, older_than: timedelta, limit: int) -> list[str]:
        """Delete what was erased, and uploads that nobody goes on with; their tokens."""
        return [row[0] for row in self._session.rows(_PURGE, (older_than, limit))]
