"""The repository of evidence documents, as the use cases see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from keys.data_keys import WrappedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """A sealed document on its way into the table."""

    bucket: int
    id: str
    uploaded_by: str
    digest: bytes
    salt: bytes
    size: int
    media_type: str
    wrapped_key: WrappedKey
    sealed: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """A document as stored, without its content."""

    bucket: int
    id: str
    uploaded_by: str
    digest: bytes
    size: int
    media_type: str
    wrapped_key: WrappedKey
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRow:
    """That an auditor may read the evidence of one request, until when, by whose leave."""

    disclosure: str
    auditor: str
    officer: str
    granted_at: datetime
    expires_at: datetime


class Evidence(Protocol):
    """Evidence documents, the requests that refer to them, and who else may read them."""

    def insert(self, row: NewDocument) -> datetime:
        """Insert a document with its content; when that was."""
        ...

    def again(self, document: DocumentRow) -> datetime | None:
        """Have a document wait anew, as if it had come now; None when it is gone."""
        ...

    def waiting(self, uploaded_by: str) -> int:
        """How many of somebody's documents no request refers to."""
        ...

    def by_digest(self, uploaded_by: str, digests: Sequence[bytes]) -> dict[bytes, DocumentRow]:
        """Somebody's documents by their digests; one for each."""
        ...

    def refer(self, bucket: int, disclosure: str, field: str, document: DocumentRow) -> bool:
        """Have a request refer to a document; False when it is gone. It is then never purged."""
        ...

    def referred(self, bucket: int, disclosure: str, field: str) -> DocumentRow | None:
        """The document that a request refers to as this piece of evidence."""
        ...

    def content(self, bucket: int, document: str) -> list[bytes]:
        """The sealed content, in order."""
        ...

    def purge(self, older_than: timedelta, limit: int) -> list[str]:
        """Delete documents that no request refers to; their names."""
        ...

    def allow(
        self, bucket: int, disclosure: str, *, auditor: str, officer: str, life: timedelta
    ) -> AccessRow:
        """Let an auditor read the evidence of a request; replaces what he had."""
        ...

    def disallow(self, bucket: int, disclosure: str, auditor: str) -> bool:
        """Take it back; False when he had no access any more."""
        ...

    def access(self, bucket: int, disclosure: str, auditor: str) -> AccessRow | None:
        """An auditor's access to a request's evidence that counts now."""
        ...
