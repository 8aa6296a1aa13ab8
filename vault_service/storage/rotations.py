"""The repository of rotations. Times are stamped by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from vault_service.services.rotation_ports import Reason, RotationRow, RotationState
from vault_service.storage.session import Row, Session

_COLUMNS: Final = (
    b"id, key, state, reason, requested_by, from_version, to_version, total, rewrapped, failed,"
    b" requested_at, started_at, clear_at, finished_at, clock_timestamp()"
)
_INSERT: Final = (
    b"INSERT INTO rotations AS r (id, key, reason, requested_by) VALUES (%b, %b, %b, %b)"
    b" ON CONFLICT (key) WHERE state <> 'done' DO UPDATE SET state = r.state RETURNING "
) + _COLUMNS
_GET: Final = b"SELECT " + _COLUMNS + b" FROM rotations WHERE id = %b"
_LOCK: Final = _GET + b" AND state = %b FOR NO KEY UPDATE SKIP LOCKED"
_LIVE: Final = (
    b"SELECT " + _COLUMNS + b" FROM rotations WHERE state <> 'done' ORDER BY requested_at, id"
)
_PAGE: Final = (
    b"SELECT "
    + _COLUMNS
    + b" FROM rotations WHERE %(before)b::text IS NULL OR (requested_at, id) <"
    b" (SELECT requested_at, id FROM rotations WHERE id = %(before)b::text)"
    b" ORDER BY requested_at DESC, id DESC LIMIT %(limit)b"
)
_KNOW: Final = b"UPDATE rotations SET from_version = %b WHERE id = %b"
_BEGIN: Final = b"""
UPDATE rotations SET state = 'running', to_version = %b, total = %b, started_at = now()
WHERE id = %b
"""
_ADD: Final = b"UPDATE rotations SET rewrapped = rewrapped + %b WHERE id = %b"
# The console moves a failed rotation on and may change nothing but its state.
_TRIMMABLE: Final = (
    b"SELECT "
    + _COLUMNS
    + b" FROM rotations WHERE state = 'done' AND trimmed_at IS NULL AND key = ANY(%b::text[])"
    b" AND finished_at < now() - %b ORDER BY finished_at, id LIMIT 100"
)
_TRIMMED: Final = (
    b"UPDATE rotations SET trimmed_at = now() WHERE id = %b AND trimmed_at IS NULL RETURNING id"
)
_AGAIN: Final = (
    b"UPDATE rotations SET state = %(to)b WHERE id = %(id)b AND state = %(was)b RETURNING "
    + _COLUMNS
)
_MOVE: Final = (
    b"""
UPDATE rotations
SET state = %(to)b::text, failed = coalesce(%(failed)b::bigint, failed),
    clear_at = CASE WHEN %(to)b::text = 'verifying' THEN now() ELSE clear_at END,
    finished_at = CASE WHEN %(to)b::text = 'done' THEN now() ELSE finished_at END
WHERE id = %(id)b AND state = %(was)b
RETURNING """
    + _COLUMNS
)


class SqlRotations:
    """Rotations of key-encryption keys."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, rotation: str, key: str, reason: Reason, by: str) -> RotationRow:
        """Ask for a rotation; the key's live one where there is one already."""
        return _rotation(self._session.rows(_INSERT, (rotation, key, reason.value, by))[0])

    def get(self, rotation: str) -> RotationRow | None:
        """One rotation."""
        return _one(self._session.rows(_GET, (rotation,)))

    def live(self) -> list[RotationRow]:
        """Those that are not done, oldest first."""
        return [_rotation(row) for row in self._session.rows(_LIVE)]

    def page(self, before: str | None, limit: int) -> list[RotationRow]:
        """Rotations, newest first, from the one after `before`."""
        rows = self._session.rows(_PAGE, {"before": before, "limit": limit})
        return [_rotation(row) for row in rows]

    def lock(self, rotation: str, state: RotationState) -> RotationRow | None:
        """One rotation in this state, locked; None where it left it or a rival has it."""
        return _one(self._session.rows(_LOCK, (rotation, state.value)))

    def know(self, rotation: str, from_version: int) -> None:
        """Remember the newest version before Vault makes another."""
        self._session.defer(_KNOW, (from_version, rotation))

    def begin(self, rotation: str, to_version: int, total: int) -> None:
        """Move from `requested` to `running`."""
        self._session.defer(_BEGIN, (to_version, total, rotation))

    def add(self, rotation: str, rewrapped: int) -> None:
        """Count what was rewrapped."""
        # The last statement before the commit: the row is shared by all who rewrap.
        self._session.defer(_ADD, (rewrapped, rotation))

    def move(
        self, rotation: str, was: RotationState, to: RotationState, *, failed: int | None = None
    ) -> RotationRow | None:
        """Change the state, stamping the times; None where it was not `was`."""
        statement = _AGAIN if was is RotationState.FAILED else _MOVE
        values = {"id": rotation, "was": was.value, "to": to.value, "failed": failed}
        return _one(self._session.rows(statement, values))

    def trimmable(self, keys: Sequence[str], after: timedelta) -> list[RotationRow]:
        """Rotations of these keys that ended so long ago and were not trimmed, oldest first."""
        return [_rotation(row) for row in self._session.rows(_TRIMMABLE, (list(keys), after))]

    def trimmed(self, rotation: str) -> bool:
        """Note that the versions which it retired are deleted; False where that was known."""
        return bool(self._session.rows(_TRIMMED, (rotation,)))


def _one(rows: list[Row]) -> RotationRow | None:
    return _rotation(rows[0]) if rows else None


def _rotation(row: Row) -> RotationRow:
    return RotationRow(
        id=row[0],
        key=row[1],
        state=RotationState(row[2]),
        reason=Reason(row[3]),
        requested_by=row[4],
        from_version=row[5],
        to_version=row[6],
        total=row[7],
        rewrapped=row[8],
        failed=row[9],
        requested_at=row[10],
        started_at=row[11],
        clear_at=row[12],
        finished_at=row[13],
        now=row[14],
    )
