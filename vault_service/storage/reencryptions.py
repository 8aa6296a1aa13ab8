"""The repository of re-encryptions. Only the schema's owner has rights on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.domain.tokens import BUCKETS, segment_place
from vault_service.services.record_ports import SealedRecord
from vault_service.services.reencryption_ports import Ended, Resealed, Shard
from vault_service.storage.activity import SEALED_SEGMENT, sealed_segment
from vault_service.storage.bindings import BEFORE_ALL, EPOCH
from vault_service.storage.records import SEALED, sealed_record
from vault_service.storage.session import Session

# Parts of a run that processes can work on side by side: 64 buckets each.
SHARDS: Final = 16

_OPEN: Final = b"""
INSERT INTO reencryptions AS e (run, shard, key, requested_by)
SELECT %(run)b, shard, %(key)b, %(by)b FROM generate_series(0, %(last)b) AS shard
WHERE NOT EXISTS (SELECT FROM reencryptions WHERE key = %(key)b AND certified_at IS NULL)
ON CONFLICT DO NOTHING
"""
_FIND: Final = b"SELECT run FROM reencryptions WHERE key = %b AND certified_at IS NULL LIMIT 1"
# Two that ask at once: the second waits, and then finds the first one's run.
_LOCK_KEY: Final = b"SELECT pg_advisory_xact_lock(hashtextextended('reencrypt ' || %b, 0))"
_TAKE: Final = b"""
SELECT run, shard, after_bucket, after_token FROM reencryptions
WHERE run = %b AND finished_at IS NULL ORDER BY shard LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""
_RECORDS: Final = (
    b"SELECT "
    + SEALED
    + b" FROM records AS r WHERE r.bucket BETWEEN %(first)b AND %(last)b AND r.kek = %(key)b"
    b" AND r.erased_at IS NULL"
    b" AND (r.bucket, r.token) > (%(bucket)b::smallint, %(token)b::text)"
    b" ORDER BY r.bucket, r.token LIMIT %(limit)b FOR NO KEY UPDATE"
)
_SEGMENTS: Final = (
    b"SELECT "
    + SEALED_SEGMENT
    + b" FROM activity_segments AS s WHERE s.bucket BETWEEN %(first)b AND %(last)b"
    b" AND s.kek = %(key)b"
    b" AND (s.bucket, s.month, s.id) > (%(bucket)b::smallint, %(month)b::date, %(name)b::text)"
    b" ORDER BY s.bucket, s.month, s.id LIMIT %(limit)b FOR NO KEY UPDATE"
)
_PUT: Final = b"""
UPDATE records AS r
SET envelope = n.envelope, wrapped_key = n.wrapped, kek_version = n.version,
    bound_by = n.entry, bound_path = n.path
FROM unnest(%b::smallint[], %b::text[], %b::text[], %b::bytea[], %b::text[], %b::integer[],
    %b::uuid[], %b::bytea[]) AS n (bucket, token, before, envelope, wrapped, version, entry, path)
WHERE r.bucket = n.bucket AND r.token = n.token AND r.wrapped_key = n.before
RETURNING r.token
"""
_PUT_SEGMENTS: Final = b"""
UPDATE activity_segments AS s
SET envelope = n.envelope, wrapped_key = n.wrapped, kek_version = n.version,
    bound_by = n.entry, bound_path = n.path
FROM unnest(%b::smallint[], %b::text[], %b::text[], %b::bytea[], %b::text[], %b::integer[],
    %b::uuid[], %b::bytea[], %b::date[])
    AS n (bucket, id, before, envelope, wrapped, version, entry, path, month)
WHERE s.bucket = n.bucket AND s.month = n.month AND s.id = n.id AND s.wrapped_key = n.before
RETURNING s.id
"""
_ADVANCE: Final = b"""
UPDATE reencryptions
SET after_bucket = %b, after_token = %b, done = done + %b, refused = refused + %b,
    finished_at = CASE WHEN %b THEN clock_timestamp() END
WHERE run = %b AND shard = %b
"""
_END: Final = b"""
UPDATE reencryptions SET certified_at = clock_timestamp()
WHERE run = %(run)b AND certified_at IS NULL
    AND NOT EXISTS (SELECT FROM reencryptions WHERE run = %(run)b AND finished_at IS NULL)
RETURNING key, done, refused, started_at, certified_at
"""


class SqlReencryptions:
    """Runs of re-encryption."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(self, offered: str, key: str, by: str) -> str:
        """The key's run that has not ended; a new one under the offered name, if there is none."""
        self._session.rows(_LOCK_KEY, (key,))
        values = {"run": offered, "key": key, "by": by, "last": SHARDS - 1}
        self._session.rows(_OPEN, values)
        return str(self._session.rows(_FIND, (key,))[0][0])

    def take(self, run: str) -> Shard | None:
        """Lock a shard that has more to do; None where all are done or in others' hands."""
        rows = self._session.rows(_TAKE, (run,))
        if not rows:
            return None
        name, number, bucket, token = rows[0]
        width = BUCKETS // SHARDS
        return Shard(
            run=name,
            number=number,
            first_bucket=number * width,
            last_bucket=(number + 1) * width - 1,
            after=None if bucket is None else (bucket, token),
        )

    def records(self, shard: Shard, key: str, limit: int) -> list[SealedRecord]:
        """Lock the next of a shard under a KEK: records by their names, then segments by theirs."""
        name = "" if shard.after is None else shard.after[1]
        place = segment_place(name)
        found = [] if place is not None else self._records(shard, key, limit)
        if len(found) == limit:
            return found
        bucket, month = place or (BEFORE_ALL, EPOCH)
        values = {
            "first": shard.first_bucket,
            "last": shard.last_bucket,
            "key": key,
            "bucket": bucket,
            "month": month,
            "name": name if place is not None else "",
            "limit": limit - len(found),
        }
        return [*found, *map(sealed_segment, self._session.rows(_SEGMENTS, values))]

    def _records(self, shard: Shard, key: str, limit: int) -> list[SealedRecord]:
        bucket, token = shard.after or (BEFORE_ALL, "")
        values = {
            "first": shard.first_bucket,
            "last": shard.last_bucket,
            "key": key,
            "bucket": bucket,
            "token": token,
            "limit": limit,
        }
        return [sealed_record(row) for row in self._session.rows(_RECORDS, values)]

    def put(self, rows: Sequence[Resealed]) -> int:
        """Replace envelope, wrapped key and binding together; how many were as before."""
        records: list[tuple[object, ...]] = []
        segments: list[tuple[object, ...]] = []
        for row in rows:
            place = segment_place(row.record.token)
            if place is None:
                records.append(_replacing(row))
            else:
                segments.append((*_replacing(row), place[1]))
        done = 0
        for statement, group in ((_PUT, records), (_PUT_SEGMENTS, segments)):
            if group:
                columns = tuple([*column] for column in zip(*group, strict=True))
                done += len(self._session.rows(statement, columns))
        return done

    def advance(
        self, shard: Shard, after: tuple[int, str] | None, *, done: int, refused: int, last: bool
    ) -> None:
        """Note how far a shard is."""
        bucket, token = after or (None, None)
        self._session.defer(_ADVANCE, (bucket, token, done, refused, last, shard.run, shard.number))

    def end(self, run: str) -> Ended | None:
        """Close a run whose shards are all done; None where they are not, or it was closed."""
        rows = self._session.rows(_END, {"run": run})
        if not rows:
            return None
        return Ended(
            run=run,
            key=rows[0][0],
            done=sum(row[1] for row in rows),
            refused=sum(row[2] for row in rows),
            started_at=min(row[3] for row in rows),
            finished_at=rows[0][4],
        )


def _replacing(row: Resealed) -> tuple[object, ...]:
    record, binding = row.record, row.record.binding
    return (
        record.bucket,
        record.token,
        row.before,
        record.envelope,
        record.wrapped_key.ciphertext,
        record.wrapped_key.kek_version,
        binding and binding.entry,
        binding and binding.path,
    )
