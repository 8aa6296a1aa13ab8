"""The repository of bindings: which entry a record's wrapped key is bound by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final
from uuid import UUID

from keys.data_keys import WrappedKey
from vault_service.domain.tokens import segment_place
from vault_service.services.binding_ports import Binding, BoundRow, WalkedRow
from vault_service.storage import arrays
from vault_service.storage.session import Row, Session

# Where a walk begins. A place that may be none would be a filter, and each page would read the
# index from its start.
BEFORE_ALL: Final = -1
EPOCH: Final = date(2000, 1, 1)

# The view has the commitments of what waits in the outbox, for roles that read no entries.
# One statement, so that an entry on its way from the outbox into the log is seen in one of them.
# What has its place in the log cannot be said anew by a row in the outbox.
_COMMITTED: Final = b"""
SELECT l.id, l.wrapped_keys FROM ledger_leaves AS l WHERE l.id = ANY(%(ids)b::uuid[])
UNION ALL
SELECT o.id, o.wrapped_keys
FROM unnest(%(buckets)b::smallint[], %(ids)b::uuid[]) AS n (bucket, id)
JOIN ledger_commitments AS o ON o.bucket = n.bucket AND o.id = n.id
WHERE NOT EXISTS (SELECT FROM ledger_leaves AS l WHERE l.id = o.id)
"""
# The hash is computed anew: what the column says is a database superuser's to change.
_WALK: Final = b"""
SELECT r.bucket, r.token, r.customer, r.erased_at IS NOT NULL, r.version, r.kek, r.kek_version,
    r.wrapped_key, sha256(r.envelope), r.bound_by, r.bound_path, l.leaf,
    coalesce(l.wrapped_keys, o.wrapped_keys)
FROM (
    SELECT * FROM records
    WHERE (bucket, token) > (%(bucket)b::smallint, %(token)b::text)
    ORDER BY bucket, token LIMIT %(limit)b
) AS r
LEFT JOIN ledger_leaves AS l ON l.id = r.bound_by
LEFT JOIN ledger_commitments AS o ON o.id = r.bound_by AND l.id IS NULL
ORDER BY r.bucket, r.token
"""
_WALK_SEGMENTS: Final = b"""
SELECT s.bucket, s.id, s.customer, false, 1, s.kek, s.kek_version, s.wrapped_key,
    sha256(s.envelope), s.bound_by, s.bound_path, l.leaf, coalesce(l.wrapped_keys, o.wrapped_keys)
FROM (
    SELECT * FROM activity_segments
    WHERE (bucket, month, id) > (%(bucket)b::smallint, %(month)b::date, %(name)b::text)
    ORDER BY bucket, month, id LIMIT %(limit)b
) AS s
LEFT JOIN ledger_leaves AS l ON l.id = s.bound_by
LEFT JOIN ledger_commitments AS o ON o.id = s.bound_by AND l.id IS NULL
ORDER BY s.bucket, s.month, s.id
"""
_INDEXED: Final = b"SELECT id, leaf, wrapped_keys FROM ledger_leaves WHERE id = ANY(%b::uuid[])"
# In the order in which they will stand in the log.
_WAITING: Final = b"SELECT entry FROM ledger_outbox ORDER BY created_at, id"
_TAKE: Final = b"""
SELECT bucket, token, version, kek, kek_version, wrapped_key, envelope_hash FROM records
WHERE bound_by IS NULL AND erased_at IS NULL
    AND (bucket, token) > (%(bucket)b::smallint, %(token)b::text)
ORDER BY bucket, token LIMIT %(limit)b FOR NO KEY UPDATE SKIP LOCKED
"""
_PUT: Final = b"""
UPDATE records AS r SET bound_by = n.entry, bound_path = n.path
FROM unnest(%b::smallint[], %b::text[], %b::uuid[], %b::bytea[]) AS n (bucket, token, entry, path)
WHERE r.bucket = n.bucket AND r.token = n.token
"""


class SqlBindings:
    """Bindings of records, and the commitments of entries."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def committed(self, places: Sequence[tuple[int, UUID]]) -> Mapping[UUID, bytes]:
        """The commitments of entries by (bucket in the outbox, id); of those that have one."""
        values = {
            "buckets": arrays.shorts([bucket for bucket, _ in places]),
            "ids": arrays.uuids([entry for _, entry in places]),
        }
        rows = self._session.rows(_COMMITTED, values)
        return {row[0]: bytes(row[1]) for row in rows if row[1] is not None}

    def walk(self, after: tuple[int, str] | None, limit: int) -> list[WalkedRow]:
        """Records in the order of their names, after one of them."""
        return [_walked(row) for row in self._session.rows(_WALK, _after(after, limit))]

    def walk_segments(self, after: str | None, limit: int) -> list[WalkedRow]:
        """Segments of activity in the order of bucket, month and name, after one of them."""
        bucket, month = (after and segment_place(after)) or (BEFORE_ALL, EPOCH)
        values = {"bucket": bucket, "month": month, "name": after or "", "limit": limit}
        return [_walked(row) for row in self._session.rows(_WALK_SEGMENTS, values)]

    def indexed(self, entries: Sequence[UUID]) -> Mapping[UUID, tuple[int, bytes | None]]:
        """What the index says of entries: the leaf, and the commitment."""
        rows = self._session.rows(_INDEXED, (list(entries),))
        return {row[0]: (row[1], row[2]) for row in rows}

    def waiting(self) -> list[bytes]:
        """The entries in the outbox."""
        return [row[0] for row in self._session.rows(_WAITING)]

    def take_unbound(self, after: tuple[int, str] | None, limit: int) -> list[BoundRow]:
        """Lock records without a binding; those of rivals are skipped."""
        return [
            BoundRow(
                bucket=row[0],
                token=row[1],
                version=row[2],
                wrapped=WrappedKey(kek=row[3], kek_version=row[4], ciphertext=row[5]),
                envelope_hash=row[6],
                binding=None,
            )
            for row in self._session.rows(_TAKE, _after(after, limit))
        ]

    def put(self, rows: Sequence[BoundRow]) -> None:
        """Store the bindings of rows that were taken."""
        bound = [(each, each.binding) for each in rows if each.binding is not None]
        self._session.defer(
            _PUT,
            (
                [row.bucket for row, _ in bound],
                [row.token for row, _ in bound],
                [binding.entry for _, binding in bound],
                [binding.path for _, binding in bound],
            ),
        )


def _after(after: tuple[int, str] | None, limit: int) -> dict[str, object]:
    bucket, token = after or (BEFORE_ALL, "")
    return {"bucket": bucket, "token": token, "limit": limit}


def binding(entry: UUID | None, path: bytes | None) -> Binding | None:
    """The binding that two columns hold."""
    return None if entry is None or path is None else Binding(entry=entry, path=path)


def _walked(row: Row) -> WalkedRow:
    bucket, token, customer, erased, version, kek, number, text, digest, by, path, leaf, found = row
    bound = None
    if not erased:
        bound = BoundRow(
            bucket=bucket,
            token=token,
            version=version,
            wrapped=WrappedKey(kek=kek, kek_version=number, ciphertext=text),
            envelope_hash=digest,
            binding=binding(by, path),
        )
    return WalkedRow(
        bucket=bucket,
        token=token,
        customer=customer,
        bound=bound,
        leaf=leaf,
        committed=None if found is None else bytes(found),
    )
