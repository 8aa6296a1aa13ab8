"""The repository of what was disclosed. Rows are written by the reveal itself and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from vault_service.services.accounting_ports import NewReveal, RevealRow, Tally, ToldRow
from vault_service.storage import arrays
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
_TOLD: Final = (
    b"""
SELECT d.ground, d.category, d.clause, d.policy, d.recipient_kind, c.class, r.fields,
    min(r.at), max(r.at), count(DISTINCT r.entry)
FROM reveals AS r
JOIN disclosures AS d ON d.bucket = r.grant_bucket AND d.id = r.disclosure
CROSS JOIN LATERAL unnest(r.classes) AS c (class)
WHERE r.bucket = %b AND r.customer = %b AND """
    + TOLD
    + b"""
GROUP BY d.ground, d.category, d.clause, d.policy, d.recipient_kind, c.class, r.fields
ORDER BY min(r.at), d.ground, d.category, d.clause, d.policy, d.recipient_kind, c.class, r.fields
LIMIT %b
"""
)
# One statement, and so one snapshot. A request for several classes, and a reveal of several, count
# once, under no class. Read once a year: it may look at every row.
_TALLIES: Final = b"""
WITH asked AS (
    SELECT ground, category, recipient_kind,
        CASE WHEN cardinality(scope_classes) = 1 THEN scope_classes[1] END AS class,
        submitted_at, activated_at, CASE WHEN state = 'denied' THEN ended_at END AS denied_at
    FROM disclosures
), told AS (
    SELECT d.ground, d.category, d.recipient_kind,
        CASE WHEN min(c.class) = max(c.class) THEN min(c.class) END AS class, count(*) AS told
    FROM reveals AS r
    JOIN disclosures AS d ON d.bucket = r.grant_bucket AND d.id = r.disclosure
    CROSS JOIN LATERAL unnest(r.classes) AS c (class)
    WHERE r.at >= %(since)b AND r.at < %(until)b
    GROUP BY r.entry, d.ground, d.category, d.recipient_kind
)
SELECT ground, category, recipient_kind, class,
    count(*) FILTER (WHERE submitted_at >= %(since)b AND submitted_at < %(until)b),
    count(*) FILTER (WHERE denied_at >= %(since)b AND denied_at < %(until)b),
    count(*) FILTER (WHERE activated_at >= %(since)b AND activated_at < %(until)b),
    0::bigint, 0::bigint
FROM asked GROUP BY ground, category, recipient_kind, class
UNION ALL
SELECT ground, category, recipient_kind, class, 0, 0, 0, count(*), sum(told)::bigint
FROM told GROUP BY ground, category, recipient_kind, class
"""
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
                arrays.shorts([row.bucket for row in rows]),
                arrays.texts([row.customer for row in rows]),
                arrays.uuids([row.entry for row in rows]),
                arrays.shorts([row.grant_bucket for row in rows]),
                arrays.texts([row.disclosure for row in rows]),
                arrays.texts([" ".join(row.tokens) for row in rows]),
                arrays.texts([" ".join(row.classes) for row in rows]),
                arrays.texts(
                    [None if row.fields is None else " ".join(row.fields) for row in rows]
                ),
            ),
        )

    def page(
        self, bucket: int, customer: str, *, before: UUID | None, withheld: bool, limit: int
    ) -> list[RevealRow]:
        """A customer's reveals, newest first, from before an entry; withheld ones only if asked."""
        rows = self._session.rows(_PAGE, (bucket, customer, before or _END, withheld, limit))
        return [_reveal(row) for row in rows]

    def told(self, bucket: int, customer: str, *, limit: int) -> list[ToldRow]:
        """What a customer may be told of by now, by kinds, the oldest first."""
        return [
            ToldRow(
                ground=row[0],
                category=row[1],
                clause=row[2],
                policy=row[3],
                recipient_kind=row[4],
                data_class=row[5],
                fields=None if row[6] is None else tuple(row[6]),
                first=row[7],
                last=row[8],
                times=row[9],
            )
            for row in self._session.rows(_TOLD, (bucket, customer, limit))
        ]

    def tallies(self, since: datetime, until: datetime) -> list[Tally]:
        """What was asked, decided and revealed in a period; each event is in one tally."""
        rows = self._session.rows(_TALLIES, {"since": since, "until": until})
        return [
            Tally(
                ground=row[0],
                category=row[1],
                recipient_kind=row[2],
                data_class=row[3],
                requests=row[4],
                denied=row[5],
                granted=row[6],
                reveals=row[7],
                values=row[8],
            )
            for row in rows
        ]


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
