"""The repository of usage counts. Days are dates in UTC; a day's first row is its lock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Final

from vault_service.services.usage_ports import Counted, Place, UsageRow
from vault_service.storage.session import Session

_OFFER: Final = b"""
INSERT INTO usage_keys (day, key) VALUES (%b, %b) ON CONFLICT (day) DO NOTHING
"""
_KEY: Final = b"SELECT key FROM usage_keys WHERE day = %b"
# Changes nothing where the row is there, and locks it: merges of one day go one after another.
_OPEN: Final = b"""
INSERT INTO usage_counts AS u (day, page, referrer, views, visitors, sketch)
VALUES (%b, '*', '*', 0, 0, %b)
ON CONFLICT (day, page, referrer) DO UPDATE SET views = u.views
RETURNING sketch IS NOT NULL
"""
_DOMAINS: Final = b"SELECT referrer FROM usage_counts WHERE day = %b AND page = '*'"
_SKETCHES: Final = b"""
SELECT u.page, u.referrer, u.sketch
FROM usage_counts AS u
JOIN unnest(%b::text[], %b::text[]) AS p (page, referrer) USING (page, referrer)
WHERE u.day = %b AND u.sketch IS NOT NULL
"""
_ADD: Final = b"""
INSERT INTO usage_counts AS u (day, page, referrer, views, visitors, sketch)
SELECT %b::date, page, referrer, views, visitors, sketch
FROM unnest(%b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::bytea[])
    AS n (page, referrer, views, visitors, sketch)
ON CONFLICT (day, page, referrer) DO UPDATE
SET views = u.views + excluded.views, visitors = excluded.visitors, sketch = excluded.sketch
"""
_ROWS: Final = b"""
SELECT day, page, referrer, views, visitors
FROM usage_counts
WHERE day BETWEEN %b AND %b AND views > 0
ORDER BY day DESC, page, referrer
"""
_OLD_KEYS: Final = b"SELECT 1 FROM usage_keys WHERE day < %b LIMIT 1"
_LOCK_KEYS: Final = b"LOCK TABLE usage_keys IN ACCESS EXCLUSIVE MODE"
_ALL_KEYS: Final = b"SELECT day, key FROM usage_keys"
# Not DELETE: it would leave the key's bytes in the table's file until something overwrites them.
_TRUNCATE: Final = b"TRUNCATE usage_keys"
_LOCK_DAYS: Final = b"""
SELECT day FROM usage_counts
WHERE day < %b AND page = '*' AND referrer = '*' AND sketch IS NOT NULL
ORDER BY day
FOR UPDATE
"""
_CLOSE: Final = b"""
UPDATE usage_counts SET sketch = NULL WHERE day < %b AND sketch IS NOT NULL RETURNING 1
"""
_PURGE: Final = b"DELETE FROM usage_counts WHERE day < %b RETURNING 1"


class SqlUsage:
    """Usage counts and the keys of their days."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def key(self, day: date, offered: bytes) -> bytes:
        """The key of a day: the offered one, if no process had put down another."""
        self._session.rows(_OFFER, (day, offered))
        # In the next statement's sight, whoever put it down.
        return bytes(self._session.rows(_KEY, (day,))[0][0])

    def open(self, day: date, empty: bytes) -> bool:
        """Lock a day against other merges, and make it if it is new; False once it is closed."""
        return bool(self._session.rows(_OPEN, (day, empty))[0][0])

    def domains(self, day: date) -> set[str]:
        """The domains that the day has by now."""
        return {str(row[0]) for row in self._session.rows(_DOMAINS, (day,))}

    def sketches(self, day: date, places: Collection[Place]) -> dict[Place, bytes]:
        """The stored sketches of those of the places that have one."""
        names = [list(each) for each in zip(*places, strict=True)]
        rows = self._session.rows(_SKETCHES, (*names, day))
        return {(page, referrer): bytes(sketch) for page, referrer, sketch in rows}

    def add(self, day: date, rows: Sequence[Counted]) -> None:
        """Add views to places, and put new sketches in the place of the old."""
        self._session.defer(
            _ADD,
            (
                day,
                [row.page for row in rows],
                [row.referrer for row in rows],
                [row.views for row in rows],
                [row.visitors for row in rows],
                [row.sketch for row in rows],
            ),
        )

    def rows(self, since: date, until: date) -> list[UsageRow]:
        """The counts of a period, both days included, the newest day first."""
        return [
            UsageRow(day=day, page=page, referrer=referrer, views=views, visitors=visitors)
            for day, page, referrer, views, visitors in self._session.rows(_ROWS, (since, until))
        ]

    def forget_keys(self, before: date) -> int:
        """Destroy the keys of the days before one; how many there were."""
        if not self._session.rows(_OLD_KEYS, (before,)):
            return 0
        self._session.rows(_LOCK_KEYS)
        keys = self._session.rows(_ALL_KEYS)
        self._session.rows(_TRUNCATE)
        kept = [(day, key) for day, key in keys if day >= before]
        for row in kept:
            self._session.rows(_OFFER, row)
        return len(keys) - len(kept)

    def close(self, before: date) -> int:
        """Take the sketches of the days before one away, their numbers stay; how many rows."""
        # The day's lock first, as a merge takes it.
        if not self._session.rows(_LOCK_DAYS, (before,)):
            return 0
        return len(self._session.rows(_CLOSE, (before,)))

    def purge(self, before: date) -> int:
        """Delete the counts of the days before one; how many rows."""
        return len(self._session.rows(_PURGE, (before,)))
