"""The repository of links between customers who were found to be one.

A link stands in both directions, so that the family of a customer is found from his own row.
"""

from __future__ import annotations

from typing import Final

from vault_service.services.modification_ports import Family
from vault_service.services.record_ports import MaskedRecord
from vault_service.storage.records import LIVE, MASKED, masked_record
from vault_service.storage.session import Session

_LINK: Final = b"""
INSERT INTO customer_links (bucket, customer, other_bucket, other, linked_by)
SELECT o.bucket, o.customer, o.other_bucket, o.other, %b
FROM unnest(%b::smallint[], %b::text[], %b::smallint[], %b::text[])
    AS o (bucket, customer, other_bucket, other)
ORDER BY o.bucket, o.customer
ON CONFLICT DO NOTHING RETURNING customer
"""
_UNLINK: Final = b"""
DELETE FROM customer_links AS l
USING unnest(%b::smallint[], %b::text[], %b::smallint[], %b::text[])
    AS o (bucket, customer, other_bucket, other)
WHERE l.bucket = o.bucket AND l.customer = o.customer AND l.other = o.other RETURNING l.customer
"""
_FAMILY: Final = (
    b"""
WITH RECURSIVE family AS (
    SELECT c.bucket, c.id FROM customers AS c
    WHERE c.bucket = %b AND c.id = %b AND c.erased_at IS NULL
    UNION
    SELECT c.bucket, c.id FROM family AS f
    JOIN customer_links AS l ON l.bucket = f.bucket AND l.customer = f.id
    JOIN customers AS c ON c.bucket = l.other_bucket AND c.id = l.other AND c.erased_at IS NULL
)
SELECT f.id, c.created_at, r.*
FROM family AS f
JOIN customers AS c ON c.bucket = f.bucket AND c.id = f.id
LEFT JOIN LATERAL (
    SELECT """
    + MASKED
    + b"""
    FROM records AS r WHERE r.bucket = f.bucket AND r.customer = f.id AND """
    + LIVE
    + b"""
    ORDER BY r.token LIMIT %b
) AS r ON true
ORDER BY f.id <> %b, f.id, r.token
"""
)


class SqlLinks:
    """Customers who were found to be one."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, one: tuple[int, str], other: tuple[int, str], *, by: str) -> bool:
        """Link two (bucket, customer); False when they were linked.

        Raises:
            RowRefused: there is no such customer, or both are the same.
        """
        return bool(self._session.rows(_LINK, (by, *_both(one, other))))

    def remove(self, one: tuple[int, str], other: tuple[int, str]) -> bool:
        """Undo the link of two (bucket, customer); False when there was none."""
        return bool(self._session.rows(_UNLINK, _both(one, other)))

    def family(self, bucket: int, customer: str, limit: int) -> Family | None:
        """A customer with everybody linked to him, however far, and their records; one query."""
        rows = self._session.rows(_FAMILY, (bucket, customer, limit, customer))
        if not rows:
            return None
        records: list[MaskedRecord] = [masked_record(row[2:]) for row in rows if row[3] is not None]
        return Family(
            customers=tuple(dict.fromkeys(row[0] for row in rows)),
            created_at=rows[0][1],
            records=tuple(records),
        )


def _both(one: tuple[int, str], other: tuple[int, str]) -> tuple[list[object], ...]:
    """Columns of a link and of its other direction."""
    return ([one[0], other[0]], [one[1], other[1]], [other[0], one[0]], [other[1], one[1]])
