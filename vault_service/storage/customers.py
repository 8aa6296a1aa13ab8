"""The repository of customers: ids and nothing personal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.services.customer_ports import CustomerRow
from vault_service.storage import arrays
from vault_service.storage.session import Session

_INSERT: Final = b"""
INSERT INTO customers (bucket, id, has_reference)
SELECT o.bucket, o.id, o.has_reference
FROM unnest(%b::smallint[], %b::text[], %b::integer[]) AS o (bucket, id, has_reference)
ORDER BY o.bucket, o.id
ON CONFLICT (bucket, id) DO NOTHING
RETURNING id
"""
_GET: Final = b"""
SELECT c.bucket, c.id, c.has_reference, c.created_at
FROM unnest(%b::smallint[], %b::text[]) AS n (bucket, id)
JOIN customers AS c ON c.bucket = n.bucket AND c.id = n.id
WHERE c.erased_at IS NULL
"""


class SqlCustomers:
    """Customers."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, rows: Sequence[tuple[int, str, bool]]) -> set[str]:
        """Insert (bucket, id, has_reference); the ids that were new."""
        if not rows:
            return set()
        # One customer may be offered twice in a batch; the first wins.
        distinct = {(bucket, name): reference for bucket, name, reference in reversed(rows)}
        found = self._session.rows(
            _INSERT,
            (
                arrays.shorts([bucket for bucket, _ in distinct]),
                arrays.texts([name for _, name in distinct]),
                arrays.integers([int(reference) for reference in distinct.values()]),
            ),
        )
        return {row[0] for row in found}

    def get(self, names: Sequence[tuple[int, str]]) -> dict[str, CustomerRow]:
        """Customers by (bucket, id)."""
        if not names:
            return {}
        distinct = dict.fromkeys(names)
        found = self._session.rows(
            _GET,
            (
                arrays.shorts([bucket for bucket, _ in distinct]),
                arrays.texts([name for _, name in distinct]),
            ),
        )
        return {
            name: CustomerRow(
                bucket=bucket, id=name, has_reference=bool(reference), created_at=created_at
            )
            for bucket, name, reference, created_at in found
        }
