"""The repository of the activity log. Its rows are written by functions of the owner alone.

Every statement names the months that it looks into, so that it opens no other partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from keys.data_keys import WrappedKey
from vault_service.domain.activity import MARK_BYTES, month_of
from vault_service.domain.classes import DataClass
from vault_service.domain.tokens import segment_place
from vault_service.services.activity_ports import NewSegment, SegmentHead
from vault_service.services.record_ports import MaskedRecord, SealedRecord
from vault_service.storage.bindings import binding
from vault_service.storage.session import Row, Session

FIRST_VERSION: Final = 1
FORMAT: Final = "segment"

_OPEN: Final = b"SELECT open_activity_month(%b::date)"
_RECORD: Final = b"""
SELECT id FROM record_activity(
    %b::smallint[], %b::date[], %b::text[], %b::text[], %b::timestamptz[], %b::timestamptz[],
    %b::bytea[], %b::bytea[], %b::text[], %b::text[], %b::integer[], %b::uuid[], %b::bytea[]
)
"""
_HEAD: Final = (
    b"SELECT s.month, s.id, s.first_at, s.last_at, octet_length(s.marks), now()"
    b" FROM activity_segments AS s WHERE s.bucket = %(bucket)b AND s.customer = %(customer)b"
    b" AND s.month >= %(low)b::date AND s.month <= %(high)b::date"
)
_HEADS: Final = (
    b"("
    + _HEAD
    + b" AND s.first_at <= %(begin)b AND s.last_at >= %(begin)b)"
    + b" UNION ALL ("
    + _HEAD
    + b" AND s.first_at > %(begin)b AND s.first_at < %(end)b ORDER BY s.first_at LIMIT %(limit)b)"
)
_NAMED: Final = b"""
FROM unnest(%b::smallint[], %b::date[], %b::text[]) AS n (bucket, month, id)
JOIN activity_segments AS s ON s.bucket = n.bucket AND s.month = n.month AND s.id = n.id
"""
_MARKS: Final = b"SELECT s.id, s.marks" + _NAMED
_MASKED: Final = (
    b"SELECT s.bucket, s.id, s.customer, octet_length(s.marks), s.first_at, s.last_at,"
    b" s.recorded_at" + _NAMED
)
SEALED_SEGMENT: Final = (
    b"s.bucket, s.id, s.customer, octet_length(s.marks), s.envelope, s.kek, s.kek_version,"
    b" s.wrapped_key, s.bound_by, s.bound_path"
)
_SEALED: Final = b"SELECT " + SEALED_SEGMENT + _NAMED


class SqlActivity:
    """Segments of activity; they are only ever added."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(self, month: date) -> None:
        """Make room for a month, where there is none.

        Raises:
            RowRefused: it is not the first day of a month that has begun.
        """
        self._session.rows(_OPEN, (month,))

    def record(self, rows: Sequence[NewSegment]) -> set[str]:
        """Insert segments; the ids of those that were.

        Raises:
            RowRefused: there is no room for a month.
        """
        found = self._session.rows(
            _RECORD,
            (
                [row.bucket for row in rows],
                [row.month for row in rows],
                [row.id for row in rows],
                [row.customer for row in rows],
                [row.first_at for row in rows],
                [row.last_at for row in rows],
                [row.marks for row in rows],
                [row.envelope for row in rows],
                [row.wrapped_key.ciphertext for row in rows],
                [row.wrapped_key.kek for row in rows],
                [row.wrapped_key.kek_version for row in rows],
                [row.binding and row.binding.entry for row in rows],
                [row.binding and row.binding.path for row in rows],
            ),
        )
        return {row[0] for row in found}

    def heads(
        self, bucket: int, customer: str, begin: datetime, end: datetime, limit: int
    ) -> list[SegmentHead]:
        """A customer's segments that reach over `begin`, and the next that begin before `end`."""
        rows = self._session.rows(
            _HEADS,
            {
                "bucket": bucket,
                "customer": customer,
                "low": month_of(begin),
                "high": month_of(end),
                "begin": begin,
                "end": end,
                "limit": limit,
            },
        )
        if rows:
            self._session.learn(rows[0][-1])
        return [
            SegmentHead(
                month=month, id=name, first_at=first, last_at=last, entries=size // MARK_BYTES
            )
            for month, name, first, last, size, _ in rows
        ]

    def marks(self, bucket: int, names: Sequence[tuple[date, str]]) -> dict[str, bytes]:
        """The marks of segments by (month, id)."""
        if not names:
            return {}
        values = [bucket] * len(names), [month for month, _ in names], [name for _, name in names]
        return {name: bytes(marks) for name, marks in self._session.rows(_MARKS, values)}


def masked_segments(session: Session, names: Sequence[str]) -> dict[str, MaskedRecord]:
    """What may be known of segments without a key, as if they were records."""
    return {row[1]: _masked(row) for row in _named(session, _MASKED, names)}


def sealed_segments(session: Session, names: Sequence[str]) -> dict[str, SealedRecord]:
    """Segments as they are revealed, as if they were records."""
    return {row[1]: sealed_segment(row) for row in _named(session, _SEALED, names)}


def _named(session: Session, statement: bytes, names: Sequence[str]) -> list[Row]:
    places = {name: segment_place(name) for name in names}
    known = [(*place, name) for name, place in places.items() if place is not None]
    if not known:
        return []
    return session.rows(statement, tuple([*column] for column in zip(*known, strict=True)))


def _masked(row: Row) -> MaskedRecord:
    bucket, name, customer, size, first, last, recorded = row
    return MaskedRecord(
        bucket=bucket,
        token=name,
        customer=customer,
        data_class=DataClass.ACTIVITY_LOG,
        format=FORMAT,
        version=FIRST_VERSION,
        mask={
            "entries": size // MARK_BYTES,
            "first_at": first.isoformat(),
            "last_at": last.isoformat(),
        },
        metadata=None,
        reference=None,
        created_at=recorded,
        expires_at=None,
    )


def sealed_segment(row: Row) -> SealedRecord:
    """A row of `SEALED_SEGMENT`."""
    bucket, name, customer, size, envelope, kek, version, wrapped, entry, path = row
    return SealedRecord(
        bucket=bucket,
        token=name,
        customer=customer,
        data_class=DataClass.ACTIVITY_LOG,
        version=FIRST_VERSION,
        envelope=envelope,
        wrapped_key=WrappedKey(kek=kek, kek_version=version, ciphertext=wrapped),
        binding=binding(entry, path),
        values=size // MARK_BYTES,
    )
