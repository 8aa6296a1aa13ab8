"""The repository of fingerprint versions: what is written under, and what is left under older."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.domain.tokens import BUCKETS
from vault_service.services.reindex_ports import SHARDS, IndexedRecord, Reindexed, Renewal
from vault_service.storage.records import SEALED, sealed_record
from vault_service.storage.session import Session

_VERSIONS: Final = b"SELECT class, version FROM fingerprint_versions"
_RENEW: Final = b"""
SELECT token FROM renew_fingerprints(
    %b::smallint[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[], %b::integer[]
)
"""
_PIN: Final = b"""
INSERT INTO fingerprint_versions (class, version) VALUES (%b, %b) ON CONFLICT DO NOTHING
"""
# Whoever writes a record holds a lock of the table that this one waits for, until his commit. He
# takes it before his statement looks at anything, so whoever comes after it sees the new version.
# He waits for it too: a quarter of a second at most, and then somebody else has his turn.
_PATIENCE: Final = b"SET LOCAL lock_timeout = '250ms'"
_STAND_STILL: Final = b"LOCK TABLE records IN SHARE MODE"
_SWITCH: Final = b"""
UPDATE fingerprint_versions SET version = %(version)b, since = now()
WHERE class = %(class)b AND version < %(version)b
"""
_COUNT: Final = b"""
SELECT class, coalesce(fingerprint_version, 0), count(*) FROM records
WHERE bucket BETWEEN %b AND %b AND fingerprint IS NOT NULL GROUP BY 1, 2
"""
_BELOW: Final = (
    b"r.class = %(class)b AND coalesce(r.fingerprint_version, 0) < %(below)b"
    b" AND r.fingerprint IS NOT NULL"
)
_TAKE: Final = (
    b"SELECT "
    + SEALED
    + b", r.fingerprint FROM records AS r WHERE r.bucket BETWEEN %(first)b AND %(last)b AND "
    + _BELOW
    + b" AND (%(bucket)b::smallint IS NULL"
    b" OR (r.bucket, r.token) > (%(bucket)b::smallint, %(token)b::text))"
    b" ORDER BY r.bucket, r.token LIMIT %(limit)b"
)
_LEFT: Final = (
    b"SELECT r.token FROM records AS r WHERE " + _BELOW + b" ORDER BY r.token LIMIT %(limit)b"
)
# Locks what it changes without waiting for anybody, as strongly as a change of a unique key does.
_PUT: Final = b"""
WITH mine AS MATERIALIZED (
    SELECT r.bucket, r.token, n.fingerprint
    FROM unnest(%b::smallint[], %b::text[], %b::bytea[], %b::bytea[])
        AS n (bucket, token, before, fingerprint)
    JOIN records AS r ON r.bucket = n.bucket AND r.token = n.token
    WHERE r.fingerprint = n.before AND NOT EXISTS (
        SELECT FROM records AS o
        WHERE o.bucket = r.bucket AND o.customer = r.customer AND o.class = r.class
            AND o.fingerprint = n.fingerprint AND o.variant = r.variant
    )
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE records AS r SET fingerprint = m.fingerprint, fingerprint_version = %b
FROM mine AS m WHERE r.bucket = m.bucket AND r.token = m.token
RETURNING r.token
"""


class SqlFingerprints:
    """Versions of fingerprints."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def versions(self) -> dict[str, int]:
        """By class, the version that a write must carry; any, for a class that is not there."""
        return dict(self._session.rows(_VERSIONS))

    def renew(self, rows: Sequence[Renewal]) -> None:
        """Bring the records of these deduplication keys under the version in force."""
        columns = (
            [each.bucket for each in rows],
            [each.customer for each in rows],
            [each.data_class for each in rows],
            [each.variant for each in rows],
            [each.old for each in rows],
            [each.new for each in rows],
            [each.version for each in rows],
        )
        self._session.rows(_RENEW, columns)

    def pin(self, data_class: str, version: int) -> None:
        """Have a class written under a version, unless it is under one already."""
        self._session.rows(_PIN, (data_class, version))

    def switch(self, data_class: str, version: int) -> None:
        """Have a class written under a newer version, from this unit of work's commit on.

        Raises:
            Unavailable: somebody took too long; nothing is changed.
        """
        self._session.rows(_PATIENCE)
        self._session.rows(_STAND_STILL)
        self._session.rows(_SWITCH, {"class": data_class, "version": version})

    def count(self, shard: int) -> dict[tuple[str, int], int]:
        """How many records a shard has, by class and version."""
        rows = self._session.rows(_COUNT, _buckets(shard))
        return {(data_class, version): count for data_class, version, count in rows}

    def take(
        self, data_class: str, below: int, shard: int, after: tuple[int, str] | None, limit: int
    ) -> list[IndexedRecord]:
        """Records of a shard that are indexed below a version, by name, from one on."""
        first, last = _buckets(shard)
        bucket, token = after or (None, None)
        values = {
            "first": first,
            "last": last,
            "class": data_class,
            "below": below,
            "bucket": bucket,
            "token": token,
            "limit": limit,
        }
        return [
            IndexedRecord(record=sealed_record(row), fingerprint=row[-1])
            for row in self._session.rows(_TAKE, values)
        ]

    def put(self, rows: Sequence[Reindexed], version: int) -> int:
        """Replace fingerprints that are as they were; how many."""
        columns = (
            [each.bucket for each in rows],
            [each.token for each in rows],
            [each.before for each in rows],
            [each.fingerprint for each in rows],
        )
        return len(self._session.rows(_PUT, (*columns, version)))

    def left(self, data_class: str, below: int, limit: int) -> list[str]:
        """Tokens of records that are indexed below a version."""
        values = {"class": data_class, "below": below, "limit": limit}
        return [row[0] for row in self._session.rows(_LEFT, values)]


def _buckets(shard: int) -> tuple[int, int]:
    width = BUCKETS // SHARDS
    return shard * width, (shard + 1) * width - 1
