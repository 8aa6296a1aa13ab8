"""The repository of answers given under an Idempotency-Key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from vault_service.services.idempotency_ports import StoredAnswer
from vault_service.storage.session import Session

# ON CONFLICT DO NOTHING waits for a rival that has inserted the same key and not ended yet, in
# the order of the keys, so that two batches never wait for each other.
_CLAIM: Final = b"""
INSERT INTO idempotency (bucket, principal, key, request_mac)
SELECT o.bucket, o.principal, o.key, o.request_mac
FROM unnest(%b::smallint[], %b::text[], %b::text[], %b::bytea[])
    AS o (bucket, principal, key, request_mac)
ORDER BY o.bucket, o.principal, o.key
ON CONFLICT (bucket, principal, key) DO NOTHING
RETURNING principal, key
"""
_FIND: Final = b"""
SELECT i.principal, i.key, i.request_mac, i.response
FROM unnest(%b::smallint[], %b::text[], %b::text[]) AS n (bucket, principal, key)
JOIN idempotency AS i
    ON i.bucket = n.bucket AND i.principal = n.principal AND i.key = n.key
"""
_ANSWER: Final = b"""
UPDATE idempotency AS i
SET response = o.response
FROM unnest(%b::smallint[], %b::text[], %b::text[], %b::bytea[])
    AS o (bucket, principal, key, response)
WHERE i.bucket = o.bucket AND i.principal = o.principal AND i.key = o.key
"""
_PURGE: Final = b"""
DELETE FROM idempotency AS i
USING (
    SELECT bucket, principal, key FROM idempotency
    WHERE created_at < now() - %b::interval
    ORDER BY created_at
    LIMIT %b
) AS old
WHERE i.bucket = old.bucket AND i.principal = old.principal AND i.key = old.key
RETURNING 1
"""


class SqlIdempotency:
    """Answers given under an Idempotency-Key."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, rows: Sequence[tuple[int, str, str, bytes]]) -> set[tuple[str, str]]:
        """Insert (bucket, principal, key, request_mac); the (principal, key) that were new.

        Waits for a rival transaction that holds the same key, in a fixed order.
        """
        if not rows:
            return set()
        found = self._session.rows(_CLAIM, _columns(rows))
        return {(principal, key) for principal, key in found}

    def find(self, names: Sequence[tuple[int, str, str]]) -> dict[tuple[str, str], StoredAnswer]:
        """Stored answers by (bucket, principal, key)."""
        if not names:
            return {}
        found = self._session.rows(_FIND, _columns(names))
        return {
            (principal, key): StoredAnswer(key=key, request_mac=request_mac, response=response)
            for principal, key, request_mac, response in found
        }

    def answer(self, rows: Sequence[tuple[int, str, str, bytes]]) -> None:
        """Store the response of (bucket, principal, key)."""
        if rows:
            self._session.defer(_ANSWER, _columns(rows))

    def purge(self, older_than: timedelta, limit: int) -> int:
        """Delete old answers; how many."""
        return len(self._session.rows(_PURGE, (older_than, limit)))


def _columns(rows: Sequence[tuple[object, ...]]) -> tuple[list[object], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))
