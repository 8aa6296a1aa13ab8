"""The repository of what was disclosed. Rows are written by the reveal itself and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from vault_service.services.accounting_ports import NewReveal, RevealRow
from vault_service.storage.session import Row, Session

# No foreign key to the grant: this runs in the transaction that has just changed its row, and no
# role may delete one. Tokens and classes hold no spaces, so a space parts them.
_INSERT: Final = b"""
INSERT INTO reveals (
    bucket, customer, entry, grant_bucket, disclosure, tokens, classes, fields
)
SELECT bucket, customer, entry, grant_bucket, disclosure, string_to_array(tokens, ' '),
    string_to_array(classes, ' '), string_to_array(fields, ' ')
FROM unnest(
    %b::smallint[], %b::text[], %b::uuid[], %b::smallint[], %b::text[], %b::text[], %b::text[],
    %b::text[]
) AS r (bucket, customer, entry, grant_bucket, disclosure, tokens, classes, fields)
"""
# The one place that says when a customer may be told; what has no rule is never told.
TOLD: Final = b"""
    (d.notice_rule = 'at_once'
    OR d.notice_rule = 'after_end' AND (d.ended_at IS NOT NULL OR d.expires_at <= now())
    OR d.notice_rule = 'after_date' AND (d.notice_after IS NULL OR d.notice_after <= now()))
"""
_PAGE: Final = (
    b"""
SELECT r.entry, r.at, d.id, d.ground, d.category, d.clause, d.policy, d.recipient_kind, r.tokens,
    r.classes, r.fields, """
    + TOLD
    + b""", d.notice_rule, d.notice_after
FROM reveals AS r
JOIN disclosures AS d ON d.bucket = r.grant_bucket AND d.id = r.disclosure
WHERE r.bucket = %b AND r.customer = %b AND r.entry < %b AND (%b::boolean OR """
    + TOLD
    + b""")
ORDER BY r.entry DESC
LIMIT %b
"""
)
# After every entry id that there can be.
_END: Final = UUID(int=2**128 - 1)


class SqlAccounts:
    """What was disclosed of whom."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, rows: Sequence[NewReveal]) -> None:
        """Write down what reveals tell; travels with the commit."""
        if not rows:
            return
        self._session.defer(
            _INSERT,
            (
                [row.bucket for row in rows],
                [row.customer for row in rows],
                [row.entry for row in rows],
                [row.grant_bucket for row in rows],
                [row.disclosure for row in rows],
                [" ".join(row.tokens) for row in rows],
                [" ".join(row.classes) for row in rows],
                [None if row.fields is None else " ".join(row.fields) for row in rows],
            ),
        )

    def page(
        self, bucket: int, customer: str, *, before: UUID | None, withheld: bool, limit: int
    ) -> list[RevealRow]:
        """A customer's reveals, newest first, from before an entry; withheld ones only if asked."""
        rows = self._session.rows(_PAGE, (bucket, customer, before or _END, withheld, limit))
        return [_reveal(row) for row in rows]


def _reveal(row: Row) -> RevealRow:
    return RevealRow(
        entry=row[0],
        at=row[1],
        disclosure=row[2],
        ground=row[3],
        category=row[4],
        clause=row[5],
        policy=row[6],
        recipient_kind=row[7],
        tokens=tuple(row[8]),
        classes=tuple(row[9]),
        fields=None if row[10] is None else tuple(row[10]),
        told=row[11],
        notice_rule=row[12],
        notice_after=row[13],
    )
