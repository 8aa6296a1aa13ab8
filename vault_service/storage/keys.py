"""The small directories: key floors, leases."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from vault_service.storage.session import Session
from vault_service.storage.tables.keys import key_floors

_ENSURE_LEASE: Final = b"INSERT INTO leases (name) VALUES (%b) ON CONFLICT (name) DO NOTHING"
_FIND_LEASE: Final = b"SELECT 1 FROM leases WHERE name = %b"
_HOLD_LEASE: Final = b"""
UPDATE leases SET holder = %b, taken_at = clock_timestamp()
WHERE name = (SELECT name FROM leases WHERE name = %b FOR NO KEY UPDATE SKIP LOCKED)
RETURNING name
"""


class SqlKeyFloors:
    """The lowest KEK version that a write may carry."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self) -> dict[str, int]:
        """All floors by key."""
        rows = self._session.core(select(key_floors.c.key, key_floors.c.min_version))
        return {row[0]: row[1] for row in rows}

    def put(self, key: str, min_version: int) -> None:
        """Set a floor; never lowers one."""
        offered = insert(key_floors).values(key=key, min_version=min_version)
        self._session.core(
            offered.on_conflict_do_update(
                index_elements=[key_floors.c.key],
                set_={
                    "min_version": func.greatest(
                        key_floors.c.min_version, offered.excluded.min_version
                    ),
                    "updated_at": func.now(),
                },
            )
        )


class SqlLeases:
    """Rows that only one worker holds at a time."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def hold(self, name: str, holder: str) -> bool:
        """Lock the row until the unit of work ends; False when somebody else has it."""
        if self._take(name, holder):
            return True
        if self._session.rows(_FIND_LEASE, (name,)):
            return False
        # The row is made in a transaction of its own: made in this one, it would keep every
        # rival waiting for as long as the lease is held.
        self._session.autonomous(_ENSURE_LEASE, (name,))
        return self._take(name, holder)

    def _take(self, name: str, holder: str) -> bool:
        return bool(self._session.rows(_HOLD_LEASE, (holder, name)))
