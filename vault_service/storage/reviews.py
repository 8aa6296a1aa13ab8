"""The repository of access reviews. Times are the database's."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from vault_service.services.review_ports import ReviewItem, ReviewRow
from vault_service.storage.session import Row, Session

_COLUMNS: Final = b"id, opened_at, due, overdue_at, completed_at, now()"
# Who may ask for plaintext or approve it.
_HOLDERS: Final = b"p.state = 'active' AND p.roles && ARRAY['officer', 'requester']"
_PAGE: Final = b"SELECT " + _COLUMNS + b" FROM access_reviews ORDER BY opened_at DESC LIMIT %b"
_GET: Final = b"SELECT " + _COLUMNS + b" FROM access_reviews WHERE id = %b FOR NO KEY UPDATE"
_LIVE: Final = (
    b"SELECT " + _COLUMNS + b" FROM access_reviews WHERE completed_at IS NULL FOR NO KEY UPDATE"
)
_ITEMS: Final = (
    b"""
SELECT i.principal, p.name, i.roles, i.decision, i.decided_by, i.decided_at, p.review_due,
    count(k.id) FILTER (WHERE k.state <> 'revoked'), max(k.last_used_at),
    i.decision IS NULL AND """
    + _HOLDERS
    + b"""
FROM access_review_items AS i
JOIN principals AS p ON p.id = i.principal
LEFT JOIN api_keys AS k ON k.principal = p.id
WHERE i.review = %b
GROUP BY i.review, i.principal, p.id ORDER BY p.name
"""
)
_NEXT: Final = b"SELECT min(p.review_due) FROM principals AS p WHERE " + _HOLDERS
_OPEN: Final = (
    b"INSERT INTO access_reviews (id, due) SELECT %b, min(p.review_due) FROM principals AS p WHERE "
    + _HOLDERS
    + b" HAVING count(*) > 0 ON CONFLICT DO NOTHING RETURNING "
    + _COLUMNS
)
_LIST: Final = (
    b"INSERT INTO access_review_items (review, principal, roles)"
    b" SELECT %b, p.id, p.roles FROM principals AS p WHERE " + _HOLDERS
)
_DECIDE: Final = b"""
UPDATE access_review_items SET decision = %b, decided_by = %b, decided_at = now()
WHERE review = %b AND principal = %b AND decision IS NULL RETURNING principal
"""
_RENEW: Final = b"""
UPDATE principals SET review_due = now() + interval '6 months' WHERE id = %b
"""
_OVERDUE: Final = b"UPDATE access_reviews SET overdue_at = now() WHERE id = %b"
_COMPLETE: Final = b"UPDATE access_reviews SET completed_at = now() WHERE id = %b"


class SqlAccessReviews:
    """Access reviews."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(self, limit: int) -> list[ReviewRow]:
        """Reviews, newest first."""
        return [_review(row) for row in self._session.rows(_PAGE, (limit,))]

    def get(self, review: str) -> ReviewRow | None:
        """One review, locked for the rest of the unit of work."""
        return _one(self._session.rows(_GET, (review,)))

    def live(self) -> ReviewRow | None:
        """The review that is open, locked for the rest of the unit of work."""
        return _one(self._session.rows(_LIVE))

    def items(self, review: str) -> list[ReviewItem]:
        """Who is reviewed; `open` are those whom somebody must still decide on."""
        return [
            ReviewItem(
                principal=row[0],
                name=row[1],
                roles=tuple(row[2]),
                decision=row[3],
                decided_by=row[4],
                decided_at=row[5],
                review_due=row[6],
                live_keys=row[7],
                last_used_at=row[8],
                open=row[9],
            )
            for row in self._session.rows(_ITEMS, (review,))
        ]

    def next_due(self) -> datetime | None:
        """When the first right ends that is not reviewed; None where nobody has any."""
        due: datetime | None = self._session.rows(_NEXT)[0][0]
        return due

    def open(self, review: str) -> ReviewRow | None:
        """Open a review of everybody with such rights; None where one is open already."""
        opened = _one(self._session.rows(_OPEN, (review,)))
        if opened is not None:
            self._session.defer(_LIST, (review,))
        return opened

    def decide(self, review: str, principal: str, decision: str, by: str) -> bool:
        """Keep or remove; False where that was decided, or he is not reviewed."""
        return bool(self._session.rows(_DECIDE, (decision, by, review, principal)))

    def renew(self, principal: str) -> None:
        """Let a principal's rights last for another period."""
        self._session.defer(_RENEW, (principal,))

    def overdue(self, review: str) -> None:
        """Note that it was told that the review is overdue."""
        self._session.defer(_OVERDUE, (review,))

    def complete(self, review: str) -> None:
        """Close a review."""
        self._session.defer(_COMPLETE, (review,))


def _one(rows: list[Row]) -> ReviewRow | None:
    return _review(rows[0]) if rows else None


def _review(row: Row) -> ReviewRow:
    return ReviewRow(
        id=row[0],
        opened_at=row[1],
        due=row[2],
        overdue_at=row[3],
        completed_at=row[4],
        now=row[5],
    )
