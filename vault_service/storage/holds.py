"""The repository of legal holds. `settle_holds` carries them to where erasures look."""

from __future__ import annotations

from typing import Final

from keys.data_keys import WrappedKey
from vault_service.services.crypto_ports import Sealed
from vault_service.services.hold_ports import HoldRow, NewHold
from vault_service.storage.session import Row, Session

_COLUMNS: Final = (
    b"bucket, id, customer, tokens, placed_by, placed_at, until, details_envelope,"
    b" details_wrapped_key, details_kek, details_kek_version, released_by, released_at,"
    b" release_envelope, release_wrapped_key, release_kek, release_kek_version, now()"
)
_INSERT: Final = (
    b"""
INSERT INTO holds (
    bucket, id, customer, tokens, placed_by, until, details_envelope, details_wrapped_key,
    details_kek, details_kek_version, details_salt
) VALUES (%b, %b, %b, %b::text[], %b, %b, %b, %b, %b, %b, %b)
RETURNING """
    + _COLUMNS
)
_SETTLE: Final = b"SELECT live FROM settle_holds(%b::smallint, %b)"
_GET: Final = b"SELECT " + _COLUMNS + b" FROM holds WHERE bucket = %b AND id = %b"
_PAGE: Final = (
    b"SELECT "
    + _COLUMNS
    + b" FROM holds WHERE (bucket, id) > (%(bucket)b::smallint, %(after)b::text)"
    + b" ORDER BY bucket, id LIMIT %(limit)b"
)
_PAGE_OF: Final = (
    b"SELECT "
    + _COLUMNS
    + b" FROM holds WHERE bucket = %(bucket)b AND customer = %(customer)b AND id > %(after)b"
    + b" ORDER BY id LIMIT %(limit)b"
)
_RELEASE: Final = (
    b"""
UPDATE holds SET released_by = %(by)b, released_at = now(), release_envelope = %(envelope)b,
    release_wrapped_key = %(wrapped)b, release_kek = %(kek)b, release_kek_version = %(version)b
WHERE bucket = %(bucket)b AND id = %(id)b AND released_at IS NULL AND placed_by <> %(by)b
RETURNING """
    + _COLUMNS
)


class SqlHolds:
    """Legal holds."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, row: NewHold) -> HoldRow:
        """Insert a hold; it counts when `settle` was called in the same unit of work."""
        key = row.details.wrapped_key
        rows = self._session.rows(
            _INSERT,
            (
                row.bucket,
                row.id,
                row.customer,
                None if row.tokens is None else list(row.tokens),
                row.placed_by,
                row.until,
                row.details.envelope,
                key.ciphertext,
                key.kek,
                key.kek_version,
                row.details_salt,
            ),
        )
        return _hold(rows[0])

    def settle(self, bucket: int, customer: str) -> bool:
        """Lock the customer and bring what erasures look at in line with his holds."""
        rows = self._session.rows(_SETTLE, (bucket, customer))
        return bool(rows and rows[0][0])

    def get(self, bucket: int, hold: str) -> HoldRow | None:
        """One hold."""
        rows = self._session.rows(_GET, (bucket, hold))
        return _hold(rows[0]) if rows else None

    def page(
        self, customer: tuple[int, str] | None, after: tuple[int, str] | None, limit: int
    ) -> list[HoldRow]:
        """Holds of one customer or of all, in the order of bucket and id, after one."""
        if customer is None:
            bucket, name = after or (-1, "")
            values: dict[str, object] = {"bucket": bucket, "after": name, "limit": limit}
            return [_hold(row) for row in self._session.rows(_PAGE, values)]
        values = {
            "bucket": customer[0],
            "customer": customer[1],
            "after": after[1] if after else "",
            "limit": limit,
        }
        return [_hold(row) for row in self._session.rows(_PAGE_OF, values)]

    def release(self, bucket: int, hold: str, *, by: str, reason: Sealed) -> HoldRow | None:
        """Release a hold that stands and was placed by somebody else; None where it is not so."""
        rows = self._session.rows(
            _RELEASE,
            {
                "bucket": bucket,
                "id": hold,
                "by": by,
                "envelope": reason.envelope,
                "wrapped": reason.wrapped_key.ciphertext,
                "kek": reason.wrapped_key.kek,
                "version": reason.wrapped_key.kek_version,
            },
        )
        return _hold(rows[0]) if rows else None


def _hold(row: Row) -> HoldRow:
    return HoldRow(
        bucket=row[0],
        id=row[1],
        customer=row[2],
        tokens=None if row[3] is None else tuple(row[3]),
        placed_by=row[4],
        placed_at=row[5],
        until=row[6],
        details=_sealed(row[7:11]),
        released_by=row[11],
        released_at=row[12],
        release=None if row[13] is None else _sealed(row[13:17]),
        now=row[17],
    )


def _sealed(columns: Row) -> Sealed:
    return Sealed(
        envelope=columns[0],
        wrapped_key=WrappedKey(ciphertext=columns[1], kek=columns[2], kek_version=columns[3]),
    )
