"""The repository of what has been kept for its time. Walks records by their primary key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from vault_service.services.retention_ports import DueRecord, Month, Window
from vault_service.storage.session import Session

# A row of the window's end stands alone where nothing of it is due.
_WINDOW: Final = b"""
WITH seen AS MATERIALIZED (
    SELECT bucket, token, customer, class, version, created_at, erased_at, held_until FROM records
    WHERE (bucket, token) > (%b::smallint, %b::text)
    ORDER BY bucket, token LIMIT %b
), due AS (
    SELECT s.bucket, s.token, s.customer, s.class, s.version,
        coalesce(s.held_until > now(), false) OR coalesce(c.held_until > now(), false) AS held
    FROM seen AS s
    JOIN unnest(%b::text[], %b::interval[]) AS p (class, keep) ON p.class = s.class
    JOIN customers AS c ON c.bucket = s.bucket AND c.id = s.customer
    WHERE s.erased_at IS NULL AND s.created_at < now() - p.keep AND NOT EXISTS (
        SELECT FROM record_versions AS v
        WHERE v.bucket = s.bucket AND v.token = s.token AND v.replaced_at >= now() - p.keep
    )
), last AS (
    SELECT bucket, token FROM seen ORDER BY bucket DESC, token DESC LIMIT 1
)
SELECT l.bucket, l.token, d.bucket, d.token, d.customer, d.class, d.version, d.held
FROM last AS l LEFT JOIN due AS d ON true
"""
_LOCK: Final = b"""
SELECT r.bucket, r.token
FROM unnest(%b::smallint[], %b::text[], %b::integer[]) AS n (bucket, token, version)
JOIN records AS r ON r.bucket = n.bucket AND r.token = n.token AND r.version = n.version
WHERE r.erased_at IS NULL
ORDER BY r.bucket, r.customer, r.class, r.fingerprint, r.variant
FOR NO KEY UPDATE OF r SKIP LOCKED
"""
_MONTHS: Final = b"""
SELECT to_date(right(c.relname, 6), 'YYYYMM')
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'activity_segments'::regclass
ORDER BY 1
"""
_COUNT: Final = b"""
SELECT count(*), count(*) FILTER (WHERE c.held_until > now())
FROM activity_segments AS s
LEFT JOIN customers AS c ON c.bucket = s.bucket AND c.id = s.customer
WHERE s.month = %b::date
"""
_DROP: Final = b"SELECT gone, kept FROM drop_activity_month(%b::date, %b::interval)"


class SqlRetention:
    """What has been kept for its time."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def window(
        self, periods: Mapping[str, timedelta], after: tuple[int, str] | None, size: int
    ) -> Window:
        """Records behind one, by class: due is what was made, and last changed, before its time."""
        bucket, token = after or (-1, "")
        rows = self._session.rows(
            _WINDOW, (bucket, token, size, list(periods), list(periods.values()))
        )
        return Window(
            due=tuple(
                DueRecord(
                    bucket=row[2],
                    token=row[3],
                    customer=row[4],
                    data_class=row[5],
                    version=row[6],
                    held=row[7],
                )
                for row in rows
                if row[3] is not None
            ),
            last=(rows[0][0], rows[0][1]) if rows else None,
        )

    def lock(self, due: Sequence[DueRecord]) -> list[tuple[int, str]]:
        """Lock those that are still of the version that was seen; those of rivals are skipped."""
        if not due:
            return []
        rows = self._session.rows(
            _LOCK,
            (
                [each.bucket for each in due],
                [each.token for each in due],
                [each.version for each in due],
            ),
        )
        return [(bucket, token) for bucket, token in rows]

    def months(self) -> list[date]:
        """The months that have a partition, oldest first."""
        return [row[0] for row in self._session.rows(_MONTHS)]

    def count(self, month: date) -> Month:
        """What a month holds."""
        ((segments, held),) = self._session.rows(_COUNT, (month,))
        return Month(month=month, segments=segments, held=held)

    def drop(self, month: date, keep: timedelta) -> tuple[int, int]:
        """Drop a month that is over for so long, but for whoever is held: (gone, kept).

        Raises:
            RowRefused: it is not.
            Unavailable: somebody is at it; nothing was done.
        """
        ((gone, kept),) = self._session.rows(_DROP, (month, keep))
        return gone, kept
