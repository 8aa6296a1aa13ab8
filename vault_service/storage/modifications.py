"""The repositories of customers' changes, of and of older versions of records.

A change's sealed columns are written and moved here and never read: no statement of this module
returns them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from vault_service.domain.modifications import PENDING
from vault_service.services.modification_ports import (
    Identified,
    ModificationRow,
    NewModification,
    ProposedValue,
    VersionRow,
)
from vault_service.services.record_ports import MaskedRecord
from vault_service.storage.records import LIVE, MASKED, masked_record
from vault_service.storage.session import Row, Session

_SHOWN: Final = (
    b"m.bucket, m.id, m.customer, m.token, m.class, m.record_version, m.state, m.source, m.ticket,"
    b" m.opened_by, m.proposed_by, m.confirmed_by, m.confirmed_how, m.ended_by, m.reason, m.mask,"
    b" m.fingerprint, m.created_at, m.expires_at, m.ended_at, now(), m.unassigned"
)
_WIDTH: Final = 22
_IDENTIFIED: Final = (
    b"""
SELECT r.token, r.customer, r.class, r.format, r.version, r.mask, r.fingerprint, r.variant
FROM unnest(%b::smallint[], %b::text[]) AS n (bucket, token)
JOIN records AS r ON r.bucket = n.bucket AND r.token = n.token
WHERE """
    + LIVE
)
_ONLY: Final = (
    b"""
SELECT r.customer, r.class, min(r.token)
FROM (SELECT DISTINCT * FROM unnest(%b::smallint[], %b::text[], %b::text[])
    AS given (bucket, customer, class)) AS n
JOIN records AS r ON r.bucket = n.bucket AND r.customer = n.customer AND r.class = n.class
WHERE """
    + LIVE
    + b" GROUP BY r.customer, r.class HAVING count(*) = 1"
)
_OFFERED: Final = b"""
FROM unnest(
    %b::smallint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::interval[],
    %b::text[], %b::text[], %b::integer[], %b::text[], %b::text[], %b::bytea[], %b::integer[],
    %b::bytea[], %b::text[], %b::text[], %b::integer[], %b::uuid[], %b::bytea[], %b::text[]
) AS o (
    bucket, id, customer, source, ticket, opened_by, life, token, class, record_version, mask,
    variant, fingerprint, fingerprint_version, envelope, wrapped_key, kek, kek_version, bound_by,
    bound_path, unassigned
)
"""
_INSERT: Final = (
    b"""
INSERT INTO modifications (
    bucket, id, customer, source, ticket, opened_by, expires_at, token, class, record_version,
    mask, variant, fingerprint, fingerprint_version, envelope, wrapped_key, kek, kek_version,
    bound_by, bound_path, unassigned, state
)
SELECT o.bucket, o.id, o.customer, o.source, o.ticket, o.opened_by, now() + o.life, o.token,
    o.class, o.record_version, o.mask::jsonb, o.variant, o.fingerprint, o.fingerprint_version,
    o.envelope, o.wrapped_key, o.kek, o.kek_version, o.bound_by, o.bound_path,
    o.unassigned, CASE WHEN o.envelope IS NULL THEN 'open' ELSE 'proposed' END
"""
    + _OFFERED
    + b"""
JOIN customers AS c ON c.bucket = o.bucket AND c.id = o.customer AND c.erased_at IS NULL
ORDER BY o.bucket, o.customer, o.ticket, o.token, o.fingerprint
ON CONFLICT (bucket, customer, ticket, token, fingerprint) WHERE ended_at IS NULL DO NOTHING
RETURNING id
"""
)
_FIRST: Final = b"""
INSERT INTO helpdesk_messages (bucket, id) VALUES (%b, %b) ON CONFLICT DO NOTHING RETURNING id
"""
_PURGE: Final = b"""
DELETE FROM helpdesk_messages WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM helpdesk_messages WHERE received_at < now() - %b::interval LIMIT %b
)) RETURNING id
"""
_EQUAL: Final = (
    b"SELECT o.id, "
    + _SHOWN
    + b"""
FROM unnest(%b::text[], %b::smallint[], %b::text[], %b::text[], %b::text[], %b::bytea[])
    AS o (id, bucket, customer, ticket, token, fingerprint)
JOIN modifications AS m ON m.bucket = o.bucket AND m.customer = o.customer AND m.ticket = o.ticket
    AND m.token IS NOT DISTINCT FROM o.token AND m.fingerprint IS NOT DISTINCT FROM o.fingerprint
WHERE m.ended_at IS NULL
"""
)
_GET: Final = b"SELECT " + _SHOWN + b" FROM modifications AS m WHERE m.bucket = %b AND m.id = %b"
_PAGE: Final = (
    b"SELECT "
    + _SHOWN
    + b" FROM modifications AS m WHERE (%(state)b::text IS NULL OR m.state = %(state)b::text)"
    + b" AND (%(after)b::text IS NULL OR m.id > %(after)b::text)"
)
_ORDER: Final = b" ORDER BY m.id LIMIT %(limit)b"
_PAGE_ALL: Final = _PAGE + _ORDER
# What waits is little beside what has ended, and has an index of its own.
_PAGE_PENDING: Final = _PAGE + b" AND m.ended_at IS NULL" + _ORDER
_PAGE_OF: Final = _PAGE + b" AND m.bucket = %(bucket)b AND m.customer = %(customer)b" + _ORDER
_UNASSIGNED: Final = (
    b"SELECT "
    + _SHOWN
    + b", "
    + MASKED
    + b" FROM modifications AS m JOIN LATERAL (SELECT "
    + MASKED
    # Each looked up by its key, also by a plan that was made while the tables were empty.
    + b" FROM records AS r WHERE r.bucket = m.bucket AND r.token = m.ticket AND "
    + LIVE
    + b" LIMIT 1) AS r ON true"
    + b" WHERE m.unassigned IS NOT NULL AND m.ended_at IS NULL AND m.state = 'open'"
    + b" AND m.expires_at > now() AND (%(at)b::timestamptz IS NULL"
    + b" OR (m.expires_at, m.id) > (%(at)b::timestamptz, %(after)b::text))"
    + b" ORDER BY m.expires_at, m.id LIMIT %(limit)b"
)
_PROPOSE: Final = b"""
UPDATE modifications SET state = 'proposed', proposed_by = %b, token = %b, class = %b,
    record_version = %b, mask = %b::jsonb, variant = %b, fingerprint = %b,
    fingerprint_version = %b, envelope = %b, wrapped_key = %b, kek = %b, kek_version = %b,
    bound_by = %b, bound_path = %b
WHERE bucket = %b AND id = %b
"""
_CONFIRM: Final = b"""
UPDATE modifications SET state = 'confirmed', confirmed_by = %b, confirmed_how = %b
WHERE bucket = %b AND id = %b
"""
_LOCK_RECORD: Final = b"""
SELECT FROM records AS r
JOIN modifications AS m ON r.bucket = m.bucket AND r.token = m.token
WHERE m.bucket = %b AND m.id = %b FOR NO KEY UPDATE OF r
"""
_HELD: Final = b"""
SELECT 1 FROM records AS r JOIN customers AS c ON c.bucket = r.bucket AND c.id = r.customer
WHERE r.bucket = %b AND r.token = %b AND (r.held_until > now() OR c.held_until > now())
"""
_OUTDATED: Final = b"""
SELECT 1 FROM modifications AS m JOIN fingerprint_versions AS v ON v.class = m.class
WHERE m.bucket = %b AND m.id = %b AND m.fingerprint_version <> v.version
"""
_APPLY: Final = b"SELECT token, version FROM apply_modification(%b, %b, %b)"
_DESTROYED: Final = (
    b"envelope = NULL, wrapped_key = NULL, kek = NULL, kek_version = NULL, fingerprint = NULL,"
    b" fingerprint_version = NULL, variant = NULL, bound_by = NULL, bound_path = NULL,"
    b" ended_at = now()"
)
_END: Final = (
    b"UPDATE modifications SET state = %b, ended_by = %b, reason = %b, "
    + _DESTROYED
    + b" WHERE bucket = %b AND id = %b"
)
_EXPIRE: Final = (
    b"""
UPDATE modifications AS m SET state = 'expired', """
    + _DESTROYED
    + b"""
FROM (
    SELECT bucket, id FROM modifications WHERE ended_at IS NULL AND expires_at <= now()
    ORDER BY expires_at LIMIT %b FOR UPDATE SKIP LOCKED
) AS due
WHERE m.bucket = due.bucket AND m.id = due.id RETURNING """
    + _SHOWN
)
_VERSIONS: Final = (
    b"""
SELECT v.version, v.mask, v.modification, v.replaced_at
FROM record_versions AS v JOIN records AS r ON r.bucket = v.bucket AND r.token = v.token
WHERE v.bucket = %b AND v.token = %b AND """
    + LIVE
    + b" ORDER BY v.version DESC"
)
_FORGET_ALL: Final = b"SELECT forget_changes(%b, %b)"
_FORGET: Final = b"SELECT forget_versions(%b::smallint[], %b::text[])"


class SqlModifications:
    """Customers' changes."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def identified(self, names: Sequence[tuple[int, str]]) -> dict[str, Identified]:
        """Live records by (bucket, token)."""
        if not names:
            return {}
        rows = self._session.rows(_IDENTIFIED, _columns(names))
        return {
            row[0]: Identified(
                token=row[0],
                customer=row[1],
                data_class=row[2],
                format=row[3],
                version=row[4],
                mask=row[5],
                fingerprint=row[6],
                variant=row[7],
            )
            for row in rows
        }

    def only_of_class(self, names: Sequence[tuple[int, str, str]]) -> dict[tuple[str, str], str]:
        """By (customer, class) the token of each (bucket, customer, class) with one live record."""
        if not names:
            return {}
        rows = self._session.rows(_ONLY, _columns(names))
        return {(customer, data_class): token for customer, data_class, token in rows}

    def insert(self, rows: Sequence[NewModification]) -> set[str]:
        """Insert; the ids that were new.

        Raises:
            RowRefused: the tables will not take a row.
        """
        if not rows:
            return set()
        found = self._session.rows(_INSERT, _columns([_offered(row) for row in rows]))
        return {name for (name,) in found}

    def first(self, bucket: int, message: str) -> bool:
        """Record that a message from outside is being taken; False when it was before."""
        return bool(self._session.rows(_FIRST, (bucket, message)))

    def purge_messages(self, older_than: timedelta, limit: int) -> int:
        """Forget messages that nobody can send again; how many."""
        return len(self._session.rows(_PURGE, (older_than, limit)))

    def equal(self, rows: Sequence[NewModification]) -> dict[str, ModificationRow]:
        """For each row offered, by its id, the pending change that equals it."""
        if not rows:
            return {}
        offered = [
            (
                row.id,
                row.bucket,
                row.customer,
                row.ticket,
                None if row.value is None else row.value.token,
                None if row.value is None else row.value.fingerprint,
            )
            for row in rows
        ]
        found = self._session.rows(_EQUAL, _columns(offered))
        return {name: _row(tuple(row)) for name, *row in found}

    def get(self, bucket: int, modification: str, *, lock: bool = False) -> ModificationRow | None:
        """One change, locked for the rest of the unit of work when asked."""
        statement = _GET + b" FOR UPDATE" if lock else _GET
        rows = self._session.rows(statement, (bucket, modification))
        return _row(rows[0]) if rows else None

    def page(
        self,
        *,
        bucket: int | None,
        customer: str | None,
        state: str | None,
        after: str | None,
        limit: int,
    ) -> list[ModificationRow]:
        """Changes in the order of their ids, after an id."""
        asked = {
            "bucket": bucket,
            "customer": customer,
            "state": state,
            "after": after,
            "limit": limit,
        }
        if bucket is not None:
            statement = _PAGE_OF
        else:
            statement = _PAGE_PENDING if state in PENDING else _PAGE_ALL
        return [_row(row) for row in self._session.rows(statement, asked)]

    def unassigned(
        self, after: tuple[datetime, str] | None, limit: int
    ) -> list[tuple[ModificationRow, MaskedRecord]]:
        """Open changes that wait for their customer, each with its message; oldest first."""
        at, name = after or (None, None)
        rows = self._session.rows(_UNASSIGNED, {"at": at, "after": name, "limit": limit})
        return [(_row(row[:_WIDTH]), masked_record(row[_WIDTH:])) for row in rows]

    def propose(self, bucket: int, modification: str, value: ProposedValue, *, by: str) -> None:
        """Give an open change its value."""
        self._session.rows(
            _PROPOSE, (by, value.token, value.data_class, *_sealed(value), bucket, modification)
        )

    def confirm(self, bucket: int, modification: str, *, by: str, how: str) -> None:
        """Record who made sure who asks, and how."""
        self._session.defer(_CONFIRM, (by, how, bucket, modification))

    def lock_record(self, bucket: int, modification: str) -> None:
        """Lock the record that a change is about, if it has one, before the change itself."""
        self._session.defer(_LOCK_RECORD, (bucket, modification))

    def held(self, bucket: int, token: str) -> bool:
        """Whether a legal hold keeps a record as it is."""
        return bool(self._session.rows(_HELD, (bucket, token)))

    def outdated(self, bucket: int, modification: str) -> bool:
        """Whether its fingerprint is of another version than its class is written under."""
        return bool(self._session.rows(_OUTDATED, (bucket, modification)))

    def apply(self, bucket: int, modification: str, *, by: str) -> tuple[str, int] | None:
        """Make the value the record's next version; None where it may not be.

        Raises:
            RowRefused: another record of the customer holds this value; nothing was written.
        """
        rows = self._session.rows(_APPLY, (bucket, modification, by))
        return (rows[0][0], rows[0][1]) if rows else None

    def end(
        self, bucket: int, modification: str, state: str, *, by: str, reason: str | None = None
    ) -> None:
        """End a change and destroy the value that it held."""
        self._session.defer(_END, (state, by, reason, bucket, modification))

    def expire_due(self, limit: int) -> list[ModificationRow]:
        """End changes past their time."""
        return [_row(row) for row in self._session.rows(_EXPIRE, (limit,))]

    def versions(self, bucket: int, token: str) -> list[VersionRow]:
        """Masks of a live record's earlier versions, newest first."""
        return [
            VersionRow(version=row[0], mask=row[1], modification=row[2], replaced_at=row[3])
            for row in self._session.rows(_VERSIONS, (bucket, token))
        ]

    def forget(self, names: Sequence[tuple[int, str]]) -> None:
        """Delete what erased records left in older versions and in changes."""
        if names:
            self._session.defer(_FORGET, _columns(names))

    def forget_all(self, bucket: int, customer: str) -> None:
        """Delete what an erased customer left beside his records: links, and his changes."""
        self._session.defer(_FORGET_ALL, (bucket, customer))


def _columns(rows: Sequence[tuple[object, ...]]) -> tuple[list[object], ...]:
    return tuple([*column] for column in zip(*rows, strict=True))


def _sealed(value: ProposedValue) -> tuple[object, ...]:
    return (
        value.record_version,
        msgspec.json.encode(value.mask).decode(),
        value.variant,
        value.fingerprint,
        value.fingerprint_version,
        value.envelope,
        value.wrapped_key.ciphertext,
        value.wrapped_key.kek,
        value.wrapped_key.kek_version,
        value.binding and value.binding.entry,
        value.binding and value.binding.path,
    )


def _offered(row: NewModification) -> tuple[object, ...]:
    value = row.value
    what = (None,) * 13 if value is None else (value.token, value.data_class, *_sealed(value))
    return (
        row.bucket,
        row.id,
        row.customer,
        row.source,
        row.ticket,
        row.opened_by,
        row.life,
        *what,
        row.unassigned,
    )


def _row(row: Row) -> ModificationRow:
    return ModificationRow(
        bucket=row[0],
        id=row[1],
        customer=row[2],
        token=row[3],
        data_class=row[4],
        record_version=row[5],
        state=row[6],
        source=row[7],
        ticket=row[8],
        opened_by=row[9],
        proposed_by=row[10],
        confirmed_by=row[11],
        confirmed_how=row[12],
        ended_by=row[13],
        reason=row[14],
        mask=row[15],
        fingerprint=row[16],
        created_at=row[17],
        expires_at=row[18],
        ended_at=row[19],
        now=row[20],
        unassigned=row[21],
    )
