"""The repository of recipients. Rows are written once; no role may change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keys.data_keys import WrappedKey
from vault_service.services.crypto_ports import Sealed
from vault_service.services.recipient_ports import NewRecipient, RecipientRow
from vault_service.storage.session import Row, Session

_COLUMNS: Final = (
    b"id, kind, created_by, created_at, public_key, thumbprint, details_envelope,"
    b" details_wrapped_key, details_kek, details_kek_version"
)
_INSERT: Final = (
    b"""
INSERT INTO recipients (
    id, kind, created_by, public_key, thumbprint, details_envelope, details_wrapped_key,
    details_kek, details_kek_version, details_salt
) VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
RETURNING """
    + _COLUMNS
)
_GET: Final = b"SELECT " + _COLUMNS + b" FROM recipients WHERE id = %b"
# Every id is greater than the empty text.
_PAGE: Final = b"SELECT " + _COLUMNS + b" FROM recipients WHERE id > %b ORDER BY id LIMIT %b"
_KEYS: Final = b"""
SELECT id, public_key FROM recipients WHERE id = ANY(%b::text[]) AND public_key IS NOT NULL
"""


class SqlRecipients:
    """Recipients."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, row: NewRecipient) -> RecipientRow:
        """Insert a recipient."""
        key = row.details.wrapped_key
        rows = self._session.rows(
            _INSERT,
            (
                row.id,
                row.kind,
                row.created_by,
                row.public_key,
                row.thumbprint,
                row.details.envelope,
                key.ciphertext,
                key.kek,
                key.kek_version,
                row.details_salt,
            ),
        )
        return _recipient(rows[0])

    def get(self, recipient: str) -> RecipientRow | None:
        """One recipient."""
        rows = self._session.rows(_GET, (recipient,))
        return _recipient(rows[0]) if rows else None

    def page(self, *, after: str | None, limit: int) -> list[RecipientRow]:
        """Recipients in the order of their ids, after an id."""
        return [_recipient(row) for row in self._session.rows(_PAGE, (after or "", limit))]

    def public_keys(self, recipients: Sequence[str]) -> dict[str, str]:
        """The public keys of recipients that have one."""
        if not recipients:
            return {}
        return {row[0]: row[1] for row in self._session.rows(_KEYS, (list(recipients),))}


def _recipient(row: Row) -> RecipientRow:
    return RecipientRow(
        id=row[0],
        kind=row[1],
        created_by=row[2],
        created_at=row[3],
        public_key=row[4],
        thumbprint=row[5],
        details=Sealed(
            envelope=row[6],
            wrapped_key=WrappedKey(ciphertext=row[7], kek=row[8], kek_version=row[9]),
        ),
    )
