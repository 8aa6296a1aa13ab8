"""The repository of honeytokens' marks. A mark tells nobody what it is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.storage.session import Session

_STANDING: Final = b"SELECT mark, key_version FROM honeytokens WHERE lifted_at IS NULL"
_PLANT: Final = b"""
INSERT INTO honeytokens AS h (mark, key_version, planted_by)
SELECT mark, %(version)b, %(by)b FROM unnest(%(marks)b::bytea[]) AS given (mark)
ON CONFLICT (mark) DO UPDATE
SET planted_by = %(by)b, planted_at = now(), lifted_by = NULL, lifted_at = NULL
WHERE h.lifted_at IS NOT NULL
RETURNING 1
"""
_LIFT: Final = b"""
UPDATE honeytokens SET lifted_by = %(by)b, lifted_at = now()
WHERE mark = ANY(%(marks)b::bytea[]) AND lifted_at IS NULL
RETURNING 1
"""
_REVOKE: Final = b"SELECT principal FROM revoke_touching_key(%b)"


class SqlHoneytokens:
    """Marks of honeytokens."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def standing(self) -> list[tuple[bytes, int]]:
        """(mark, version of Vault's key) of those in force."""
        return [(bytes(mark), version) for mark, version in self._session.rows(_STANDING)]

    def plant(self, marks: Sequence[bytes], *, key_version: int, by: str) -> int:
        """Insert marks, or put them in force again; how many were not."""
        given = {"marks": list(marks), "version": key_version, "by": by}
        return len(self._session.rows(_PLANT, given))

    def lift(self, marks: Sequence[bytes], *, by: str) -> int:
        """End marks; how many were in force."""
        return len(self._session.rows(_LIFT, {"marks": list(marks), "by": by}))

    def revoke(self, key_id: str) -> str | None:
        """Revoke an API key; whose it was, None where it was no longer live."""
        rows = self._session.rows(_REVOKE, (key_id,))
        return rows[0][0] if rows else None
