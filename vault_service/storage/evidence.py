"""The repository of evidence documents: sealed once, read as a whole, deleted with their content.

A document and the request that refers to it lie in different buckets, so nothing but
`referred_at` joins them: the statement that sets it and the one that purges meet at the document's
row, and whichever comes second sees what the first one did.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from keys.data_keys import WrappedKey
from vault_service.services.evidence_ports import AccessRow, DocumentRow, NewDocument
from vault_service.storage.session import Row, Session

# Chunks that one statement carries, so that no message to the server is larger than 1 MiB or so.
_AT_ONCE: Final = 16

_COLUMNS: Final = (
    b"e.bucket, e.id, e.uploaded_by, e.digest, e.size, e.media_type, e.wrapped_key, e.kek,"
    b" e.kek_version, e.created_at"
)
_INSERT: Final = b"""
INSERT INTO evidence_documents (
    bucket, id, uploaded_by, digest, salt, size, media_type, wrapped_key, kek, kek_version
) VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
RETURNING created_at
"""
_INSERT_CHUNKS: Final = b"""
INSERT INTO evidence_chunks (bucket, document, number, sealed)
SELECT %b, %b, n.number, n.sealed FROM unnest(%b::smallint[], %b::bytea[]) AS n (number, sealed)
"""
_AGAIN: Final = b"""
UPDATE evidence_documents SET created_at = now() WHERE bucket = %b AND id = %b
RETURNING created_at
"""
_WAITING: Final = b"""
SELECT count(*) FROM evidence_documents WHERE uploaded_by = %b AND referred_at IS NULL
"""
# Of equal documents the one that is kept anyway.
_BY_DIGEST: Final = (
    b"SELECT DISTINCT ON (e.digest) "
    + _COLUMNS
    + b""" FROM evidence_documents AS e
WHERE e.uploaded_by = %b AND e.digest = ANY(%b::bytea[])
ORDER BY e.digest, e.referred_at NULLS LAST, e.id"""
)
_KEEP: Final = b"""
UPDATE evidence_documents SET referred_at = coalesce(referred_at, now())
WHERE bucket = %b AND id = %b
RETURNING id
"""
_REFER: Final = b"""
INSERT INTO disclosure_documents (bucket, disclosure, field, document_bucket, document)
VALUES (%b, %b, %b, %b, %b)
"""
_REFERRED: Final = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM disclosure_documents AS d
JOIN evidence_documents AS e ON e.bucket = d.document_bucket AND e.id = d.document
WHERE d.bucket = %b AND d.disclosure = %b AND d.field = %b"""
)
_CONTENT: Final = b"""
SELECT sealed FROM evidence_chunks WHERE bucket = %b AND document = %b ORDER BY number
"""
_PURGE: Final = b"""
DELETE FROM evidence_documents AS e
USING (
    SELECT bucket, id FROM evidence_documents
    WHERE referred_at IS NULL AND created_at < now() - %b::interval
    ORDER BY created_at LIMIT %b FOR UPDATE SKIP LOCKED
) AS due
WHERE e.bucket = due.bucket AND e.id = due.id
RETURNING e.id
"""
_ALLOW: Final = b"""
INSERT INTO evidence_access (bucket, disclosure, auditor, officer, expires_at)
VALUES (%b, %b, %b, %b, now() + %b::interval)
ON CONFLICT (bucket, disclosure, auditor) DO UPDATE
SET officer = excluded.officer, granted_at = now(), expires_at = excluded.expires_at
RETURNING disclosure, auditor, officer, granted_at, expires_at
"""
_DISALLOW: Final = b"""
UPDATE evidence_access SET expires_at = now()
WHERE bucket = %b AND disclosure = %b AND auditor = %b AND expires_at > clock_timestamp()
RETURNING auditor
"""
_ACCESS: Final = b"""
SELECT disclosure, auditor, officer, granted_at, expires_at FROM evidence_access
WHERE bucket = %b AND disclosure = %b AND auditor = %b AND expires_at > clock_timestamp()
"""


class SqlEvidence:
    """Evidence documents."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, row: NewDocument) -> datetime:
        """Insert a document with its content; when that was."""
        ((created_at,),) = self._session.rows(
            _INSERT,
            (
                row.bucket,
                row.id,
                row.uploaded_by,
                row.digest,
                row.salt,
                row.size,
                row.media_type,
                row.wrapped_key.ciphertext,
                row.wrapped_key.kek,
                row.wrapped_key.kek_version,
            ),
        )
        for start in range(0, len(row.sealed), _AT_ONCE):
            chunks = row.sealed[start : start + _AT_ONCE]
            numbers = list(range(start, start + len(chunks)))
            self._session.rows(_INSERT_CHUNKS, (row.bucket, row.id, numbers, list(chunks)))
        return cast("datetime", created_at)

    def again(self, document: DocumentRow) -> datetime | None:
        """Have a document wait anew, as if it had come now; None when it is gone."""
        rows = self._session.rows(_AGAIN, (document.bucket, document.id))
        return rows[0][0] if rows else None

    def waiting(self, uploaded_by: str) -> int:
        """How many of somebody's documents no request refers to."""
        ((count,),) = self._session.rows(_WAITING, (uploaded_by,))
        return cast("int", count)

    def by_digest(self, uploaded_by: str, digests: Sequence[bytes]) -> dict[bytes, DocumentRow]:
        """Somebody's documents by their digests; one for each."""
        if not digests:
            return {}
        rows = self._session.rows(_BY_DIGEST, (uploaded_by, list(digests)))
        return {bytes(row[3]): _document(row) for row in rows}

    def refer(self, bucket: int, disclosure: str, field: str, document: DocumentRow) -> bool:
        """Have a request refer to a document; False when it is gone."""
        if not self._session.rows(_KEEP, (document.bucket, document.id)):
            return False
        self._session.defer(_REFER, (bucket, disclosure, field, document.bucket, document.id))
        return True

    def referred(self, bucket: int, disclosure: str, field: str) -> DocumentRow | None:
        """The document that a request refers to as this piece of evidence."""
        rows = self._session.rows(_REFERRED, (bucket, disclosure, field))
        return _document(rows[0]) if rows else None

    def content(self, bucket: int, document: str) -> list[bytes]:
        """The sealed content, in order."""
        return [bytes(row[0]) for row in self._session.rows(_CONTENT, (bucket, document))]

    def purge(self, older_than: timedelta, limit: int) -> list[str]:
        """Delete documents that no request refers to; their names."""
        return [row[0] for row in self._session.rows(_PURGE, (older_than, limit))]

    def allow(
        self, bucket: int, disclosure: str, *, auditor: str, officer: str, life: timedelta
    ) -> AccessRow:
        """Let an auditor read the evidence of a request; replaces what he had."""
        rows = self._session.rows(_ALLOW, (bucket, disclosure, auditor, officer, life))
        return _access(rows[0])

    def disallow(self, bucket: int, disclosure: str, auditor: str) -> bool:
        """Take it back; False when he had no access any more."""
        return bool(self._session.rows(_DISALLOW, (bucket, disclosure, auditor)))

    def access(self, bucket: int, disclosure: str, auditor: str) -> AccessRow | None:
        """An auditor's access to a request's evidence that counts now."""
        rows = self._session.rows(_ACCESS, (bucket, disclosure, auditor))
        return _access(rows[0]) if rows else None


def _document(row: Row) -> DocumentRow:
    return DocumentRow(
        bucket=row[0],
        id=row[1],
        uploaded_by=row[2],
        digest=bytes(row[3]),
        size=row[4],
        media_type=row[5],
        wrapped_key=WrappedKey(ciphertext=row[6], kek=row[7], kek_version=row[8]),
        created_at=row[9],
    )


def _access(row: Row) -> AccessRow:
    return AccessRow(
        disclosure=row[0],
        auditor=row[1],
        officer=row[2],
        granted_at=row[3],
        expires_at=row[4],
    )
