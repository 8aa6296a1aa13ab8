"""The repository of alarms: when each was raised last, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from vault_service.storage.session import Session

# The look before the insert takes no lock, so that many callers in a quiet time do not queue; the
# condition on the conflicting row decides among those who found the quiet time over.
# Every role may write here, so that whoever finds an alarm can raise it. A quiet time that lasts
# longer than the alarm itself could have asked for was written by nobody honest and is not obeyed;
# twice as long, because rivals' clocks are those of when their transactions began.
_MARK: Final = b"""
INSERT INTO alarms (name, subject, quiet_until)
SELECT %(name)b, %(subject)b, now() + %(quiet)b::interval
WHERE NOT EXISTS (
    SELECT FROM alarms
    WHERE name = %(name)b AND subject = %(subject)b
        AND quiet_until > now() AND quiet_until <= now() + 2 * %(quiet)b::interval
)
ON CONFLICT (name, subject) DO UPDATE
SET raised_at = now(), quiet_until = excluded.quiet_until, times = alarms.times + 1
WHERE alarms.quiet_until <= now()
    OR alarms.quiet_until > now() + 2 * %(quiet)b::interval
RETURNING times
"""
_LIFT: Final = b"UPDATE alarms SET quiet_until = now() WHERE name = %b AND subject = %b"
_COUNTS: Final = b"SELECT name, sum(times)::bigint FROM alarms GROUP BY name"


class SqlAlarms:
    """Alarms."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def mark(self, alarm: str, subject: str, quiet: timedelta) -> bool:
        """Count an alarm about a subject; False while the one before keeps it quiet."""
        given = {"name": alarm, "subject": subject, "quiet": quiet}
        return bool(self._session.rows(_MARK, given))

    def lift(self, alarm: str, subject: str) -> None:
        """End the quiet time."""
        self._session.defer(_LIFT, (alarm, subject))

    def counts(self) -> dict[str, int]:
        """How often each alarm was raised."""
        return dict(self._session.rows(_COUNTS))
