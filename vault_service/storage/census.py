"""The repository of the census of wrapped keys. Times are stamped by the database's clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from vault_service.services.rotation_ports import CensusRow
from vault_service.storage.session import Session

_PUT: Final = b"""
INSERT INTO key_census (key, wrapped) VALUES (%b, %b::jsonb)
ON CONFLICT (key) DO UPDATE SET wrapped = excluded.wrapped, counted_at = now()
"""
_ALL: Final = b"SELECT key, wrapped, counted_at, overdue_since FROM key_census"
_FLAG: Final = b"""
UPDATE key_census SET overdue_since = CASE WHEN %(overdue)b::boolean THEN now() END
WHERE key = %(key)b AND (overdue_since IS NOT NULL) <> %(overdue)b::boolean RETURNING key
"""


class SqlCensus:
    """How many wrapped keys lie under each version of each key."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, key: str, wrapped: Mapping[int, int]) -> None:
        """Replace what was counted for a key."""
        counts = {str(version): count for version, count in sorted(wrapped.items())}
        self._session.defer(_PUT, (key, msgspec.json.encode(counts).decode()))

    def all(self) -> dict[str, CensusRow]:
        """What was counted, by key."""
        return {
            key: CensusRow(
                wrapped={int(version): count for version, count in wrapped.items()},
                counted_at=counted_at,
                overdue_since=overdue_since,
            )
            for key, wrapped, counted_at, overdue_since in self._session.rows(_ALL)
        }

    def flag(self, key: str, *, overdue: bool) -> bool:
        """Note whether a key is overdue; False where that was known."""
        return bool(self._session.rows(_FLAG, {"key": key, "overdue": overdue}))
