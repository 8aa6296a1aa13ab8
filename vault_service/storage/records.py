"""The repository of sealed values.

All of it is on the hot path: one statement for a batch, its columns passed as binary arrays, each
looked up by key. Expired and erased records are left out by every reading, by the database's
clock. Writers lock rows in the order of the deduplication key, so that two batches that share
values never deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from keys.data_keys import WrappedKey
from vault_service.services.record_ports import (
    MaskedRecord,
    NewRecord,
    SealedRecord,
    UpsertedRecord,
)
from vault_service.services.reindex_ports import FingerprintOutdated
from vault_service.storage import arrays
from vault_service.storage.activity import masked_segments, sealed_segments
from vault_service.storage.bindings import binding
from vault_service.storage.session import Row, Session

MASKED: Final = (
    b"r.bucket, r.token, r.customer, r.class, r.format, r.version, r.mask, r.metadata,"
    b" r.reference, r.created_at, r.expires_at"
)
SEALED: Final = (
    b"r.bucket, r.token, r.customer, r.class, r.version, r.envelope, r.kek, r.kek_version,"
    b" r.wrapped_key, r.bound_by, r.bound_path"
)
LIVE: Final = b"r.erased_at IS NULL AND (r.expires_at IS NULL OR r.expires_at > now())"
# One name is looked up plainly: an array of one costs half as much again as the look-up.
_ONE: Final = b" FROM records AS r WHERE r.bucket = %b AND r.token = %b AND "
_NAMED: Final = b"""
FROM unnest(%b::smallint[], %b::text[]) AS n (bucket, token)
JOIN records AS r ON r.bucket = n.bucket AND r.token = n.token
"""

# A role without SELECT on the sealed columns can run this: the conflict clause reads and writes
# `expires_at` alone. An offered item drops out when its customer or a key version will not do.
_UPSERT: Final = (
    b"""
INSERT INTO records AS r (
    bucket, token, customer, class, format, variant, mask, fingerprint, fingerprint_version,
    envelope, wrapped_key, kek, kek_version, metadata, reference, expires_at, bound_by, bound_path
)
SELECT
    o.bucket, o.token, o.customer, o.class, o.format, o.variant, o.mask::jsonb, o.fingerprint,
    o.fingerprint_version, o.envelope, o.wrapped_key, o.kek, o.kek_version, o.metadata::jsonb,
    o.reference, o.expires_at, o.bound_by, o.bound_path
FROM unnest(
    %b::smallint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
    %b::bytea[], %b::integer[], %b::bytea[], %b::text[], %b::text[], %b::integer[], %b::text[],
    %b::text[], %b::timestamptz[], %b::uuid[], %b::bytea[]
) AS o (
    bucket, token, customer, class, format, variant, mask, fingerprint, fingerprint_version,
    envelope, wrapped_key, kek, kek_version, metadata, reference, expires_at, bound_by, bound_path
)
JOIN customers AS c ON c.bucket = o.bucket AND c.id = o.customer AND c.erased_at IS NULL
LEFT JOIN key_floors AS f ON f.key = o.kek
LEFT JOIN fingerprint_versions AS v ON v.class = o.class
WHERE o.kek_version >= coalesce(f.min_version, 0)
    AND o.fingerprint_version = coalesce(v.version, o.fingerprint_version)
ORDER BY o.bucket, o.customer, o.class, o.fingerprint, o.variant
ON CONFLICT (bucket, customer, class, fingerprint, variant) DO UPDATE
SET expires_at = CASE
    WHEN r.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
    ELSE greatest(r.expires_at, excluded.expires_at)
END
WHERE r.expires_at IS NULL OR r.expires_at > now()
RETURNING """
    + MASKED
    + b", r.fingerprint, r.variant, now()"
)

_GET: Final = b"SELECT " + MASKED + _NAMED + b"WHERE " + LIVE
_LIVE_ONE: Final = b"SELECT r.token, now()" + _ONE + LIVE
_LIVE: Final = b"SELECT r.token, now()" + _NAMED + b"WHERE " + LIVE
_GET_ONE: Final = b"SELECT " + MASKED + _ONE + LIVE
_GET_ONE_SEALED: Final = b"SELECT " + SEALED + _ONE + LIVE
_GET_SEALED: Final = b"SELECT " + SEALED + _NAMED + b"WHERE " + LIVE
_OF_CUSTOMER: Final = (
    b"SELECT "
    + SEALED
    + b" FROM records AS r WHERE r.bucket = %b AND r.customer = %b AND r.class = ANY(%b::text[])"
    + b" AND "
    + LIVE
    + b" ORDER BY r.token LIMIT %b"
)
_PAGE: Final = (
    b"SELECT "
    + MASKED
    + b" FROM records AS r WHERE r.bucket = %(bucket)b AND r.customer = %(customer)b"
    + b" AND (%(class)b::text IS NULL OR r.class = %(class)b::text)"
    + b" AND (%(after)b::text IS NULL OR r.token > %(after)b::text) AND "
    + LIVE
    + b" ORDER BY r.token LIMIT %(limit)b"
)
# A row for each, found or not, so that it tells which version its class is written under.
_BY_FINGERPRINT: Final = (
    b"SELECT n.class, v.version, n.fingerprint, r.*"
    b" FROM unnest(%b::text[], %b::bytea[]) AS n (class, fingerprint)"
    b" LEFT JOIN fingerprint_versions AS v ON v.class = n.class"
    b" LEFT JOIN LATERAL (SELECT "
    + MASKED
    + b" FROM records AS r WHERE r.fingerprint = n.fingerprint AND r.class = n.class AND "
    + LIVE
    + b" ORDER BY r.bucket, r.token LIMIT %b) AS r ON true"
)
_ERASE: Final = b"SELECT token, customer, class FROM erase_records(%b::smallint[], %b::text[])"
_STANDING: Final = b"SELECT r.token, r.customer" + _NAMED + b"WHERE r.erased_at IS NULL"
_ERASE_DUPLICATES: Final = b"""
SELECT customer, token FROM erase_expired_duplicates(
    %b::smallint[], %b::text[], %b::text[], %b::bytea[], %b::text[]
)
"""
_ERASE_EXPIRED: Final = (
    b"SELECT bucket, token, customer, class FROM erase_expired_records(%b::integer)"
)


class SqlRecords:
    """Sealed values. Every method takes a batch."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def upsert(self, offered: Sequence[NewRecord]) -> list[UpsertedRecord]:
        """Insert, or find the live record of the same deduplication key.

        Raises:
            TokenTaken: a card-shaped token is in use; nothing was written.
            RowRefused: the tables will not take a row.
            Unavailable: the database gave no answer.
        """
        if not offered:
            return []
        index = {
            (new.bucket, new.customer, new.data_class, new.fingerprint, new.variant): place
            for place, new in enumerate(offered)
        }
        if len(index) != len(offered):
            raise ValueError("a deduplication key stands twice in one batch")
        bindings = [new.binding for new in offered]
        rows = self._session.rows(
            _UPSERT,
            (
                arrays.shorts([new.bucket for new in offered]),
                arrays.texts([new.token for new in offered]),
                arrays.texts([new.customer for new in offered]),
                arrays.texts([new.data_class for new in offered]),
                arrays.texts([new.format for new in offered]),
                arrays.texts([new.variant for new in offered]),
                arrays.texts([_json(new.mask) for new in offered]),
                arrays.blobs([new.fingerprint for new in offered]),
                arrays.integers([new.fingerprint_version for new in offered]),
                arrays.blobs([new.envelope for new in offered]),
                arrays.texts([new.wrapped_key.ciphertext for new in offered]),
                arrays.texts([new.wrapped_key.kek for new in offered]),
                arrays.integers([new.wrapped_key.kek_version for new in offered]),
                arrays.texts(
                    [None if new.metadata is None else _json(new.metadata) for new in offered]
                ),
                arrays.texts([new.reference for new in offered]),
                [new.expires_at for new in offered],
                arrays.uuids([None if each is None else each.entry for each in bindings]),
                arrays.blobs([None if each is None else each.path for each in bindings]),
            ),
        )
        if rows:
            self._session.learn(rows[0][-1])
        return [
            UpsertedRecord(
                index=index[row[0], row[2], row[3], row[11], row[12]], record=masked_record(row)
            )
            for row in rows
        ]

    def erase_expired_duplicates(self, offered: Sequence[NewRecord]) -> list[tuple[str, str]]:
        """Erase expired records that hold the deduplication keys; (customer, token) of each."""
        if not offered:
            return []
        rows = self._session.rows(
            _ERASE_DUPLICATES,
            (
                [new.bucket for new in offered],
                [new.customer for new in offered],
                [new.data_class for new in offered],
                [new.fingerprint for new in offered],
                [new.variant for new in offered],
            ),
        )
        return [(customer, token) for customer, token in rows]

    def masked(self, names: Sequence[tuple[int, str]]) -> dict[str, MaskedRecord]:
        """Live records by (bucket, token); segments of activity, too."""
        records, segments = _parted(names)
        found = {row[1]: masked_record(row) for row in self._named(records, _GET_ONE, _GET)}
        return found | masked_segments(self._session, segments) if segments else found

    def ask_live(self, names: Sequence[tuple[int, str]]) -> Callable[[], set[str]]:
        """Of these (bucket, token), those that `masked` would return; asked with what follows."""
        records, segments = _parted(names)
        asked = self._session.ahead(*_by_name(records, _LIVE_ONE, _LIVE)) if records else None

        def found() -> set[str]:
            rows = [] if asked is None else asked()
            if rows:
                self._session.learn(rows[0][1])
            tokens = {row[0] for row in rows}
            return tokens | masked_segments(self._session, segments).keys() if segments else tokens

        return found

    def sealed(self, names: Sequence[tuple[int, str]]) -> dict[str, SealedRecord]:
        """Live records by (bucket, token), sealed columns included; segments of activity, too."""
        records, segments = _parted(names)
        found = {
            row[1]: sealed_record(row) for row in self._named(records, _GET_ONE_SEALED, _GET_SEALED)
        }
        return found | sealed_segments(self._session, segments) if segments else found

    def sealed_of_customer(
        self, bucket: int, customer: str, classes: Sequence[str], limit: int
    ) -> list[SealedRecord]:
        """Live records of one customer in some classes, by token."""
        rows = self._session.rows(_OF_CUSTOMER, (bucket, customer, list(classes), limit))
        return [sealed_record(row) for row in rows]

    def page(
        self, bucket: int, customer: str, data_class: str | None, after: str | None, limit: int
    ) -> list[MaskedRecord]:
        """Live records of one customer, ordered by token, after a token."""
        rows = self._session.rows(
            _PAGE,
            {
                "bucket": bucket,
                "customer": customer,
                "class": data_class,
                "after": after,
                "limit": limit,
            },
        )
        return [masked_record(row) for row in rows]

    def by_fingerprint(
        self,
        fingerprints: Sequence[tuple[str, bytes]],
        limit: int,
        *,
        newest: Mapping[str, int] | None = None,
    ) -> dict[bytes, list[MaskedRecord]]:
        """Live records by (class, fingerprint), at most `limit` for each.

        Raises:
            FingerprintOutdated: a class is written under a later version than the newest of these.
        """
        if not fingerprints:
            return {}
        distinct = list(dict.fromkeys(fingerprints))
        rows = self._session.rows(
            _BY_FINGERPRINT,
            ([name for name, _ in distinct], [digest for _, digest in distinct], limit),
        )
        found: dict[bytes, list[MaskedRecord]] = defaultdict(list)
        later: dict[str, int] = {}
        for data_class, version, digest, *row in rows:
            if newest and version is not None and version > newest.get(data_class, version):
                later[data_class] = version
            if row[1] is not None:
                found[digest].append(masked_record(tuple(row)))
        if later:
            raise FingerprintOutdated(later)
        return dict(found)

    def erase(self, names: Sequence[tuple[int, str]]) -> dict[str, tuple[str, str]]:
        """Destroy sealed columns, fingerprint and mask; token -> (customer, class) of each."""
        if not names:
            return {}
        rows = self._session.rows(_ERASE, arrays.names(names))
        return {token: (customer, data_class) for token, customer, data_class in rows}

    def standing(self, names: Sequence[tuple[int, str]]) -> dict[str, str]:
        """Of these, the records that are not erased, expired ones too; token -> customer."""
        if not names:
            return {}
        rows = self._session.rows(_STANDING, arrays.names(names))
        return dict(rows)

    def erase_expired(self, limit: int) -> list[tuple[int, str, str, str]]:
        """Erase up to `limit` records past their expiry: (bucket, token, customer, class)."""
        rows = self._session.rows(_ERASE_EXPIRED, (limit,))
        return [
            (bucket, token, customer, data_class) for bucket, token, customer, data_class in rows
        ]

    def _named(self, names: Sequence[tuple[int, str]], one: bytes, many: bytes) -> list[Row]:
        return self._session.rows(*_by_name(names, one, many)) if names else []


def _by_name(
    names: Sequence[tuple[int, str]], one: bytes, many: bytes
) -> tuple[bytes, Sequence[object]]:
    """The statement for so many names, and its parameters."""
    return (one, names[0]) if len(names) == 1 else (many, arrays.names(names))


def _parted(names: Sequence[tuple[int, str]]) -> tuple[Sequence[tuple[int, str]], list[str]]:
    """Records, and the names of segments of activity."""
    segments = [name for _, name in names if name.startswith("act_")]
    if not segments:
        return names, segments
    return [each for each in names if not each[1].startswith("act_")], segments


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def masked_record(row: Row) -> MaskedRecord:
    """A record from the columns `MASKED`."""
    return MaskedRecord(
        bucket=row[0],
        token=row[1],
        customer=row[2],
        data_class=row[3],
        format=row[4],
        version=row[5],
        mask=row[6],
        metadata=row[7],
        reference=row[8],
        created_at=row[9],
        expires_at=row[10],
    )


def sealed_record(row: Row) -> SealedRecord:
    """The record of a row of the `SEALED` columns."""
    return SealedRecord(
        bucket=row[0],
        token=row[1],
        customer=row[2],
        data_class=row[3],
        version=row[4],
        envelope=row[5],
        wrapped_key=WrappedKey(kek=row[6], kek_version=row[7], ciphertext=row[8]),
        binding=binding(row[9], row[10]),
    )
