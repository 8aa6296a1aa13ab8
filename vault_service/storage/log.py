"""The repository of the log: single statements, no rule of the tree.

What is read without a lock is read in an order that cannot miss: first the right edge, then what
is full, because a partial tile may become full between two statements but never the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from vault_service.ledger.tiles import Edge
from vault_service.services.log_ports import (
    Appended,
    Located,
    LogState,
    NewBundle,
    Shown,
    WaitingEntry,
    Wanted,
)
from vault_service.storage.session import Row, Session

# A sequencer that finds the row locked has nothing to wait for: another one is at work.
_LOCK: Final = b"SELECT 1 FROM ledger_tree WHERE id = 1 FOR NO KEY UPDATE SKIP LOCKED"
# One statement, so that size and edge are of one moment.
_STATE_OF: Final = b"""
SELECT t.origin, t.size, t.root, t.signed_size, t.first_leaf,
       ARRAY(SELECT e.hashes FROM ledger_edge e ORDER BY e.level)%b
FROM ledger_tree t WHERE t.id = 1
"""
_STATE: Final = _STATE_OF % b""
# The commitment to wrapped keys is cut out as the view `ledger_commitments` does it.
_TAKE: Final = b"""
DELETE FROM ledger_outbox WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ledger_outbox ORDER BY created_at, id LIMIT %b
)) RETURNING id, entry, created_at, CASE WHEN position('"wrapped_keys":"'::bytea IN entry) > 0
    THEN substring(entry FROM position('"wrapped_keys":"'::bytea IN entry) + 16 FOR 64) END
"""
_LEAVES: Final = b"""
INSERT INTO ledger_leaves (id, leaf, wrapped_keys)
SELECT id, %b + place - 1, wrapped_keys
FROM unnest(%b::uuid[], %b::bytea[]) WITH ORDINALITY AS offered (id, wrapped_keys, place)
"""
_TILES: Final = b"""
INSERT INTO ledger_tiles (level, number, hashes)
SELECT * FROM unnest(%b::smallint[], %b::bigint[], %b::bytea[])
"""
_EDGE: Final = b"""
INSERT INTO ledger_edge (level, hashes)
SELECT * FROM unnest(%b::smallint[], %b::bytea[])
ON CONFLICT (level) DO UPDATE SET hashes = excluded.hashes
"""
_BUNDLE: Final = b"""
INSERT INTO ledger_bundles (number, packed, terms, first_at, last_at)
VALUES (%b, %b, %b::bigint[], %b, %b)
"""
_CLEAR_TAIL: Final = b"DELETE FROM ledger_tail WHERE leaf < %b"
_TAIL: Final = b"""
INSERT INTO ledger_tail (leaf, entry) SELECT * FROM unnest(%b::bigint[], %b::bytea[])
"""
_GROWN: Final = b"""
UPDATE ledger_tree
SET size = %b, root = %b, unsigned_since = least(unsigned_since, %b) WHERE id = 1
"""
_CHECKPOINT: Final = b"""
INSERT INTO ledger_checkpoints (size, note) VALUES (%b, %b)
ON CONFLICT (size) DO NOTHING
"""
# What came in while Vault signed has waited for the next checkpoint since it was written.
# Another sequencer's head may cover more by now: then its word on the rest stands.
_SIGNED: Final = b"""
UPDATE ledger_tree
SET origin = %(origin)b, signed_size = greatest(signed_size, %(size)b),
    unsigned_since = CASE
        WHEN size <= greatest(signed_size, %(size)b) THEN NULL
        WHEN signed_size >= %(size)b THEN unsigned_since
        ELSE %(since)b::timestamptz
    END
WHERE id = 1
"""
_UNPLACED_SINCE: Final = b"""
SELECT least((SELECT min(created_at) FROM ledger_outbox), clock_timestamp())
"""
_THIN: Final = b"""
DELETE FROM ledger_checkpoints c
WHERE c.signed_at < now() - interval '1 day' AND EXISTS (
    SELECT FROM ledger_checkpoints later
    WHERE later.size > c.size
      AND date_trunc('hour', later.signed_at) = date_trunc('hour', c.signed_at)
) RETURNING size
"""
_MOVE_FIRST: Final = b"""
UPDATE ledger_tree SET first_leaf = %b WHERE id = 1 AND first_leaf = %b RETURNING id
"""
_FORGET: Final = b"DELETE FROM ledger_bundles WHERE number >= %b AND number < %b"
_FULL_TILES: Final = b"""
SELECT level, number, hashes FROM ledger_tiles
JOIN unnest(%b::smallint[], %b::bigint[]) AS wanted (level, number) USING (level, number)
"""
_FULL_BUNDLES: Final = (
    b"SELECT number, packed FROM ledger_bundles WHERE number = ANY (%b::bigint[])"
)
_READ_TAIL: Final = b"SELECT leaf, entry FROM ledger_tail ORDER BY leaf"
_LOCATE: Final = _STATE_OF % (
    b", (SELECT leaf FROM ledger_leaves WHERE id = %b),"
    b" (SELECT note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1)"
)
# One statement, so that an entry on its way out of the partial bundle is seen in one of them.
_SHOW: Final = b"""
SELECT level, number, hashes FROM ledger_tiles
JOIN unnest(%(levels)b::smallint[], %(numbers)b::bigint[]) AS wanted (level, number)
    USING (level, number)
UNION ALL SELECT -1, number, packed FROM ledger_bundles WHERE number = %(leaf)b::bigint / 256
UNION ALL SELECT -2, leaf, entry FROM ledger_tail WHERE leaf = %(leaf)b::bigint
"""
# The index of terms is asked first and on its own: no other plan reads as little.
_BY_TERMS: Final = b"""
WITH hits AS MATERIALIZED (
    SELECT number, first_at, last_at FROM ledger_bundles WHERE terms @> %(terms)b::bigint[]
)
SELECT number FROM hits
"""
_ALL: Final = b"SELECT number FROM ledger_bundles\n"
_UPWARDS: Final = b"""
WHERE number >= %(start)b
  AND last_at >= %(since)b::timestamptz AND first_at <= %(until)b::timestamptz
ORDER BY number LIMIT %(limit)b
"""
_DOWNWARDS: Final = b"""
WHERE number <= %(start)b
  AND last_at >= %(since)b::timestamptz AND first_at <= %(until)b::timestamptz
ORDER BY number DESC LIMIT %(limit)b
"""
_NEWEST: Final = b"SELECT note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1"
_BEHIND: Final = b"""
SELECT coalesce(extract(epoch FROM clock_timestamp() - least(
    (SELECT min(created_at) FROM ledger_outbox), (SELECT unsigned_since FROM ledger_tree)
)), 0)::float8
"""


class SqlLog:
    """The log."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    # ------------------------------------------------------------ writing

    def lock(self) -> LogState | None:
        """The log's state, locked for the rest of the unit of work; None while another has it."""
        if not self._session.rows(_LOCK):
            return None
        # A statement of its own: it sees what the row's last holder committed.
        return self.state()

    def take(self, limit: int) -> list[WaitingEntry]:
        """Take the oldest entries out of the outbox, oldest first."""
        taken = [
            WaitingEntry(id=row[0], entry=row[1], created_at=row[2], wrapped_keys=row[3])
            for row in self._session.rows(_TAKE, (limit,))
        ]
        return sorted(taken, key=lambda each: (each.created_at, each.id))

    def append(self, batch: Appended) -> None:
        """Write a batch; the log must be locked."""
        put = self._session.defer
        put(_LEAVES, (batch.first_leaf, list(batch.ids), list(batch.wrapped_keys)))
        if batch.tiles:
            put(_TILES, tuple(map(list, zip(*batch.tiles, strict=True))))
        changed = list(batch.changed)
        put(_EDGE, (changed, [batch.edge.levels[level] for level in changed]))
        for bundle in batch.bundles:
            self._put_bundle(bundle)
        if batch.bundles:
            put(_CLEAR_TAIL, (batch.edge.size - batch.edge.size % 256,))
        if batch.tail:
            put(_TAIL, tuple(map(list, zip(*batch.tail, strict=True))))
        put(_GROWN, (batch.edge.size, batch.root, batch.oldest))

    def _put_bundle(self, bundle: NewBundle) -> None:
        self._session.defer(
            _BUNDLE,
            (bundle.number, bundle.packed, list(bundle.terms), bundle.first_at, bundle.last_at),
        )

    def record_checkpoint(self, *, origin: str, size: int, note: bytes, since: datetime) -> None:
        """Write a signed checkpoint; what it does not cover waits since `since`."""
        self._session.defer(_CHECKPOINT, (size, note))
        self._session.defer(_SIGNED, {"origin": origin, "size": size, "since": since})

    def thin_checkpoints(self) -> int:
        """Of the checkpoints older than a day, keep the last of each hour; how many went."""
        return len(self._session.rows(_THIN))

    def forget(self, first: int, end: int) -> bool:
        """Delete the bundles of the leaves [first, end); False when others began elsewhere."""
        if not self._session.rows(_MOVE_FIRST, (end, first)):
            return False
        self._session.defer(_FORGET, (first // 256, end // 256))
        return True

    # ------------------------------------------------------------ reading

    def state(self) -> LogState:
        """The log's state, unlocked, at one moment."""
        (row,) = self._session.rows(_STATE)
        return _state(row)

    def tiles(self, names: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Full tiles by (level, number); what is not full is missing."""
        if not names:
            return {}
        columns = tuple(map(list, zip(*names, strict=True)))
        return {(row[0], row[1]): row[2] for row in self._session.rows(_FULL_TILES, columns)}

    def bundles(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Full bundles by number, gzip."""
        if not numbers:
            return {}
        return {row[0]: row[1] for row in self._session.rows(_FULL_BUNDLES, (list(numbers),))}

    def tail(self) -> list[tuple[int, bytes]]:
        """The entries of the partial bundle: (leaf, entry), in order."""
        return [(row[0], row[1]) for row in self._session.rows(_READ_TAIL)]

    def locate(self, entry: UUID) -> Located:
        """Where an entry is, and what a proof of it has to lead to."""
        ((*state, leaf, note),) = self._session.rows(_LOCATE, (entry,))
        return Located(state=_state(state), leaf=leaf, note=note)

    def show(self, names: Sequence[tuple[int, int]], leaf: int) -> Shown:
        """Full tiles, and the entry of a leaf or the bundle that has it."""
        values = {
            "levels": [level for level, _ in names],
            "numbers": [number for _, number in names],
            "leaf": leaf,
        }
        found = {(row[0], row[1]): row[2] for row in self._session.rows(_SHOW, values)}
        return Shown(
            packed=found.pop((-1, leaf // 256), None),
            entry=found.pop((-2, leaf), None),
            tiles=found,
        )

    def find(self, wanted: Wanted, limit: int) -> list[int]:
        """Numbers of full bundles that may hold what is wanted, in the order of the search."""
        statement = (_BY_TERMS if wanted.terms else _ALL) + (
            _DOWNWARDS if wanted.newest_first else _UPWARDS
        )
        parameters: dict[str, object] = {
            "start": wanted.start,
            "since": wanted.since or "-infinity",
            "until": wanted.until or "infinity",
            "limit": limit,
        }
        if wanted.terms:
            parameters["terms"] = list(wanted.terms)
        return [row[0] for row in self._session.rows(statement, parameters)]

    def unplaced_since(self) -> datetime:
        """Since when the oldest entry of the outbox waits; now, if it is empty."""
        found: datetime = self._session.rows(_UNPLACED_SINCE)[0][0]
        return found

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint."""
        found: list[Row] = self._session.rows(_NEWEST)
        return bytes(found[0][0]) if found else None

    def behind(self) -> float:
        """Seconds since the oldest entry was written that no signed checkpoint covers, or 0."""
        return max(0.0, float(self._session.rows(_BEHIND)[0][0]))


def _state(row: Sequence[Any]) -> LogState:
    origin, size, root, signed_size, first_leaf, levels = row
    return LogState(
        origin=origin,
        edge=Edge(size=size, levels=tuple(levels)),
        root=root,
        signed_size=signed_size,
        first_leaf=first_leaf,
    )
