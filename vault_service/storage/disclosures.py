"""The repository of disclosure requests, the decisions on them, and the tokens issued for them.

Times are stamped by the database's clock. Using a token is one statement that locks the grant's
row and the token's row before it looks at either, so that no race can spend either twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from keys.data_keys import WrappedKey
from vault_service.domain.tokens import bucket_from_disclosure_id
from vault_service.errors import NotFound
from vault_service.services.crypto_ports import Sealed
from vault_service.services.disclosure_ports import (
    DecisionRow,
    DisclosureRow,
    NewDisclosure,
    NewToken,
    UseClaim,
)
from vault_service.storage import arrays
from vault_service.storage.session import Row, Session

_COLUMNS: Final = (
    b"d.bucket, d.id, d.state, d.requester, d.ground, d.category, d.clause, d.policy,"
    b" d.recipient_kind, d.tokens, d.customer, d.classes, d.fields, d.uses, d.uses_left,"
    b" d.duration_seconds, d.approvals_needed, d.determination_needed, d.details_envelope,"
    b" d.details_wrapped_key, d.details_kek, d.details_kek_version, d.details_salt, d.created_at,"
    b" d.submitted_at, d.activated_at, d.expires_at, d.ended_at, clock_timestamp(), d.recipient,"
    b" d.recipient_key, d.delivery, d.proof_of_possession, d.amends"
)
_INSERT: Final = (
    b"""
INSERT INTO disclosures AS d (
    bucket, id, state, requester, ground, category, clause, policy, recipient_kind, tokens,
    customer, classes, fields, uses, uses_left, duration_seconds, approvals_needed,
    determination_needed, details_envelope, details_wrapped_key, details_kek, details_kek_version,
    details_salt, recipient, recipient_key, delivery, notice_rule, notice_after, scope_classes,
    proof_of_possession, amends, submitted_at
) VALUES (
    %(bucket)b, %(id)b, %(state)b, %(requester)b, %(ground)b, %(category)b, %(clause)b, %(policy)b,
    %(recipient_kind)b, %(tokens)b::text[], %(customer)b, %(classes)b::text[], %(fields)b::text[],
    %(uses)b, %(uses)b, %(duration)b, %(approvals)b, %(determination)b, %(envelope)b,
    %(wrapped_key)b, %(kek)b, %(kek_version)b, %(salt)b, %(recipient)b,
    %(recipient_key)b, %(delivery)b, %(notice_rule)b, %(notice_after)b,
    %(scope_classes)b::text[], %(proof)b, %(amends)b,
    CASE WHEN %(state)b::text = 'submitted' THEN now() END
)
RETURNING """
    + _COLUMNS
)
_GET: Final = b"SELECT " + _COLUMNS + b" FROM disclosures AS d WHERE d.bucket = %b AND d.id = %b"
_LOCK: Final = b" FOR NO KEY UPDATE OF d"
# The filters that a page is asked with, each served by an index of its own; put together for each
# page, because a plan that has to serve all of them uses none.
_PAGE: Final = b"SELECT " + _COLUMNS + b" FROM disclosures AS d WHERE "
_FILTERS: Final = {
    "requester": b"d.requester = %(requester)b",
    "state": b"d.state = %(state)b",
    "after": b"(d.bucket, d.id) > (%(bucket)b, %(after)b)",
}
_IN_ORDER: Final = b" ORDER BY d.bucket, d.id LIMIT %(limit)b"
_SET_STATE: Final = (
    b"""
UPDATE disclosures AS d
SET state = s.state,
    submitted_at = CASE WHEN s.state = 'submitted' THEN now() ELSE d.submitted_at END,
    activated_at = CASE WHEN s.state = 'active' THEN now() ELSE d.activated_at END,
    expires_at = CASE
        WHEN s.state = 'active'
            THEN now() + coalesce(s.seconds, d.duration_seconds) * interval '1 second'
        ELSE d.expires_at
    END,
    ended_at = CASE
        WHEN s.state IN ('spent', 'expired', 'revoked', 'denied', 'withdrawn', 'superseded')
            THEN clock_timestamp()
        ELSE d.ended_at
    END
FROM (SELECT %(state)b::text AS state, %(seconds)b::integer AS seconds) AS s
WHERE d.bucket = %(bucket)b AND d.id = %(id)b
RETURNING """
    + _COLUMNS
)
_DECIDE: Final = b"""
INSERT INTO disclosure_decisions (
    bucket, disclosure, kind, principal, requester, comment_envelope, comment_wrapped_key,
    comment_kek, comment_kek_version
) VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b)
ON CONFLICT (bucket, disclosure, kind, principal) DO NOTHING
RETURNING kind
"""
_DECISIONS: Final = b"""
SELECT kind, principal, at, comment_envelope, comment_wrapped_key, comment_kek, comment_kek_version
FROM disclosure_decisions WHERE bucket = %b AND disclosure = %b
ORDER BY at, kind, principal
"""
_DECIDERS: Final = b"""
SELECT d.disclosure, d.kind, array_agg(d.principal)
FROM unnest(%b::smallint[], %b::text[]) AS n (bucket, id)
JOIN disclosure_decisions AS d ON d.bucket = n.bucket AND d.disclosure = n.id
GROUP BY d.disclosure, d.kind
"""
_INSERT_TOKENS: Final = b"""
INSERT INTO disclosure_tokens (bucket, jti, disclosure, holder, issued_at, expires_at)
SELECT * FROM unnest(%b::smallint[], %b::text[], %b::text[], %b::text[], %b::timestamptz[],
    %b::timestamptz[])
"""
_GRANTS: Final = (
    b"SELECT "
    + _COLUMNS
    + b", now() FROM unnest(%b::smallint[], %b::text[]) AS n (bucket, id)"
    + b" JOIN disclosures AS d ON d.bucket = n.bucket AND d.id = n.id"
)
# `held` takes both locks, the grant's first, in the order of the grants. Where a rival had them, it
# waits, and the server then judges the conditions anew on both rows as the rival left them: a
# condition that is no longer true drops the claim before anything is changed, and `uses_left` is
# what the rival left. So each grant's claims can be counted off against it: the first in the order
# of their entries get what is there. The updates find rows that this statement holds, so they
# cannot fail for one row and succeed for the other. clock_timestamp(), because now() would stand
# still while waiting for a lock.
_USE: Final = (
    b"""
WITH held AS MATERIALIZED (
    SELECT d.bucket, d.id, d.uses_left, t.jti, c.entry
    FROM unnest(%b::smallint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::uuid[])
        AS c (bucket, jti, disclosure, holder, policy, entry)
    JOIN disclosures AS d ON d.bucket = c.bucket AND d.id = c.disclosure
    JOIN disclosure_tokens AS t ON t.bucket = c.bucket AND t.jti = c.jti
    WHERE d.state = 'active' AND d.uses_left > 0 AND d.policy = c.policy
        AND d.expires_at > clock_timestamp()
        AND t.disclosure = d.id AND t.holder = c.holder AND t.used_at IS NULL
        AND t.expires_at > clock_timestamp()
    ORDER BY d.bucket, d.id, t.jti
    FOR NO KEY UPDATE OF d, t
), claimed AS MATERIALIZED (
    SELECT * FROM (
        SELECT held.*, row_number() OVER (PARTITION BY bucket, id ORDER BY entry) AS turn
        FROM held
    ) AS counted
    WHERE turn <= uses_left
), used AS (
    UPDATE disclosure_tokens AS t
    SET used_at = clock_timestamp(), entry = c.entry
    FROM claimed AS c
    WHERE t.bucket = c.bucket AND t.jti = c.jti
    RETURNING t.bucket, t.jti
), spent AS (
    UPDATE disclosures AS d
    SET uses_left = d.uses_left - c.uses,
        state = CASE WHEN d.uses_left = c.uses THEN 'spent' ELSE d.state END,
        ended_at = CASE WHEN d.uses_left = c.uses THEN clock_timestamp() ELSE d.ended_at END
    FROM (SELECT bucket, id, count(*) AS uses FROM claimed GROUP BY bucket, id) AS c
    WHERE d.bucket = c.bucket AND d.id = c.id
    RETURNING """
    + _COLUMNS
    + b""", now() AS moment
)
SELECT spent.*, c.jti, c.uses_left - c.turn
FROM claimed AS c
JOIN spent ON spent.bucket = c.bucket AND spent.id = c.id
JOIN used ON used.bucket = c.bucket AND used.jti = c.jti
"""
)
_EXPIRE: Final = b"""
UPDATE disclosures AS d
SET state = 'expired', ended_at = now()
FROM (
    SELECT bucket, id FROM disclosures
    WHERE state = 'active' AND expires_at <= now()
    ORDER BY expires_at
    LIMIT %b
    FOR NO KEY UPDATE SKIP LOCKED
) AS due
WHERE d.bucket = due.bucket AND d.id = due.id
RETURNING """ + _COLUMNS.replace(b"d.details_envelope", b"''::bytea").replace(
    b"d.details_salt", b"NULL::bytea"
)


class SqlDisclosures:
    """Disclosure requests, decisions and issued tokens."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, row: NewDisclosure) -> DisclosureRow:
        """Insert a request."""
        rows = self._session.rows(
            _INSERT,
            {
                "bucket": row.bucket,
                "id": row.id,
                "state": row.state,
                "requester": row.requester,
                "ground": row.ground,
                "category": row.category,
                "clause": row.clause,
                "policy": row.policy,
                "recipient_kind": row.recipient_kind,
                "tokens": _list(row.tokens),
                "customer": row.customer,
                "classes": _list(row.classes),
                "fields": _list(row.fields),
                "uses": row.uses,
                "duration": int(row.duration.total_seconds()),
                "approvals": row.approvals_needed,
                "determination": int(row.determination_needed),
                "envelope": row.details.envelope,
                "wrapped_key": row.details.wrapped_key.ciphertext,
                "kek": row.details.wrapped_key.kek,
                "kek_version": row.details.wrapped_key.kek_version,
                "salt": row.details_salt,
                "recipient": row.recipient,
                "recipient_key": row.recipient_key,
                "delivery": row.delivery,
                "amends": row.amends,
                "notice_rule": row.notice_rule,
                "notice_after": row.notice_after,
                "scope_classes": list(row.scope_classes),
                "proof": int(row.proof_of_possession),
            },
        )
        return _disclosure(rows[0])

    def get(self, bucket: int, disclosure: str, *, lock: bool = False) -> DisclosureRow | None:
        """One request, locked for the rest of the unit of work when asked."""
        rows = self._session.rows(_GET + _LOCK if lock else _GET, (bucket, disclosure))
        return _disclosure(rows[0]) if rows else None

    def page(
        self, *, requester: str | None, state: str | None, after: str | None, limit: int
    ) -> list[DisclosureRow]:
        """Requests ordered by bucket and so, as an id begins with its bucket, by id."""
        asked = {"requester": requester, "state": state, "after": after}
        filters = [_FILTERS[name] for name, value in asked.items() if value is not None]
        rows = self._session.rows(
            _PAGE + (b" AND ".join(filters) or b"true") + _IN_ORDER,
            {
                **asked,
                "bucket": None if after is None else bucket_from_disclosure_id(after),
                "limit": limit,
            },
        )
        return [_disclosure(row) for row in rows]

    def set_state(
        self, bucket: int, disclosure: str, state: str, *, lasts: timedelta | None = None
    ) -> DisclosureRow:
        """Move to a state; stamps submitted_at, activated_at and expires_at, or ended_at.

        `lasts` is how long a grant that becomes active lasts; without it, the row's duration.

        Raises:
            NotFound: there is no such request.
        """
        rows = self._session.rows(
            _SET_STATE,
            {
                "state": state,
                "seconds": None if lasts is None else int(lasts.total_seconds()),
                "bucket": bucket,
                "id": disclosure,
            },
        )
        if not rows:
            raise NotFound("there is no such disclosure")
        return _disclosure(rows[0])

    def decide(
        self,
        bucket: int,
        disclosure: str,
        *,
        kind: str,
        principal: str,
        requester: str,
        comment: Sealed | None,
    ) -> bool:
        """Insert a decision; False when this principal already decided so."""
        wrapped = None if comment is None else comment.wrapped_key
        rows = self._session.rows(
            _DECIDE,
            (
                bucket,
                disclosure,
                kind,
                principal,
                requester,
                None if comment is None else comment.envelope,
                None if wrapped is None else wrapped.ciphertext,
                None if wrapped is None else wrapped.kek,
                None if wrapped is None else wrapped.kek_version,
            ),
        )
        return bool(rows)

    def decisions(self, bucket: int, disclosure: str) -> list[DecisionRow]:
        """Decisions on one request, oldest first."""
        rows = self._session.rows(_DECISIONS, (bucket, disclosure))
        return [
            DecisionRow(
                kind=kind,
                principal=principal,
                at=at,
                comment=None if envelope is None else _sealed(envelope, *wrapped),
            )
            for kind, principal, at, envelope, *wrapped in rows
        ]

    def deciders(self, names: Sequence[tuple[int, str]]) -> dict[str, dict[str, frozenset[str]]]:
        """Who decided on requests, by request and kind; for the role that gives out tokens."""
        found: dict[str, dict[str, frozenset[str]]] = {}
        for disclosure, kind, principals in self._session.rows(_DECIDERS, arrays.names(names)):
            found.setdefault(disclosure, {})[kind] = frozenset(principals)
        return found

    def insert_tokens(self, tokens: Sequence[NewToken]) -> None:
        """Register issued disclosure tokens."""
        if tokens:
            self._session.defer(
                _INSERT_TOKENS,
                (
                    arrays.shorts([each.bucket for each in tokens]),
                    arrays.texts([each.jti for each in tokens]),
                    arrays.texts([each.disclosure for each in tokens]),
                    arrays.texts([each.holder for each in tokens]),
                    arrays.moments([each.issued_at for each in tokens]),
                    arrays.moments([each.expires_at for each in tokens]),
                ),
            )

    def grants(self, names: Sequence[tuple[int, str]]) -> dict[str, DisclosureRow]:
        """Requests by (bucket, id), unlocked."""
        return self.ask_grants(names)()

    def ask_grants(
        self, names: Sequence[tuple[int, str]]
    ) -> Callable[[], dict[str, DisclosureRow]]:
        """As `grants`, asked with what comes next."""
        asked = self._session.ahead(_GRANTS, arrays.names(names)) if names else None

        def found() -> dict[str, DisclosureRow]:
            rows = [] if asked is None else asked()
            if rows:
                self._session.learn(rows[0][-1])
            return {row[1]: _disclosure(row) for row in rows}

        return found

    def use(self, claims: Sequence[UseClaim]) -> dict[str, DisclosureRow]:
        """Consume one use of each claim's token and grant, or neither; by jti what succeeded.

        The rows are as each use left them: several of one grant count down, and only the row of
        its last use tells that it is spent.
        """
        if not claims:
            return {}
        if len({claim.jti for claim in claims}) != len(claims):
            raise ValueError("a token stands twice among the claims")
        rows = self._session.rows(
            _USE,
            (
                arrays.shorts([claim.bucket for claim in claims]),
                arrays.texts([claim.jti for claim in claims]),
                arrays.texts([claim.disclosure for claim in claims]),
                arrays.texts([claim.holder for claim in claims]),
                arrays.texts([claim.policy for claim in claims]),
                arrays.uuids([claim.entry for claim in claims]),
            ),
        )
        if rows:
            self._session.learn(rows[0][-3])
        return {row[-2]: _left(_disclosure(row), row[-1]) for row in rows}

    def expire_due(self, limit: int) -> list[DisclosureRow]:
        """Move active grants past their end to expired; the rows, without their evidence.

        The worker has no right to read evidence or its salt: `details.envelope` is empty and
        `details_salt` is None.
        """
        return [_disclosure(row) for row in self._session.rows(_EXPIRE, (limit,))]


def _list(items: Sequence[str] | None) -> list[str] | None:
    return None if items is None else list(items)


def _tuple(items: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if items is None else tuple(items)


def _sealed(envelope: bytes, ciphertext: str, kek: str, kek_version: int) -> Sealed:
    return Sealed(
        envelope=envelope,
        wrapped_key=WrappedKey(kek=kek, kek_version=kek_version, ciphertext=ciphertext),
    )


def _left(grant: DisclosureRow, uses: int) -> DisclosureRow:
    """A grant as the use left it that was not the last of its statement."""
    if uses == grant.uses_left:
        return grant
    return replace(grant, uses_left=uses, state="active", ended_at=None)


def _disclosure(row: Row) -> DisclosureRow:
    return DisclosureRow(
        bucket=row[0],
        id=row[1],
        state=row[2],
        requester=row[3],
        ground=row[4],
        category=row[5],
        clause=row[6],
        policy=row[7],
        recipient_kind=row[8],
        tokens=_tuple(row[9]),
        customer=row[10],
        classes=_tuple(row[11]),
        fields=_tuple(row[12]),
        uses=row[13],
        uses_left=row[14],
        duration=timedelta(seconds=row[15]),
        approvals_needed=row[16],
        determination_needed=bool(row[17]),
        details=_sealed(row[18], row[19], row[20], row[21]),
        details_salt=row[22],
        created_at=row[23],
        submitted_at=row[24],
        activated_at=row[25],
        expires_at=row[26],
        ended_at=row[27],
        now=row[28],
        recipient=row[29],
        recipient_key=row[30],
        delivery=row[31],
        proof_of_possession=bool(row[32]),
        amends=row[33],
    )
