"""The repository of policies: the text of every version, and when each came into force."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from vault_service.services.policy_ports import AdoptionRow
from vault_service.storage.session import Session

_KEEP: Final = b"""
INSERT INTO policies (version, name, body) VALUES (%b, %b, %b) ON CONFLICT (version) DO NOTHING
"""
# Of two who adopt at once the second waits for the first's commit, and then finds the number taken.
_ADOPT: Final = b"""
WITH last AS (SELECT number, version FROM policy_adoptions ORDER BY number DESC LIMIT 1)
INSERT INTO policy_adoptions (number, version)
SELECT coalesce((SELECT number FROM last), 0) + 1, %(version)b::text
WHERE (SELECT version FROM last) IS DISTINCT FROM %(version)b::text
ON CONFLICT (number) DO NOTHING RETURNING number
"""
_IN_FORCE: Final = b"SELECT version FROM policy_adoptions ORDER BY number DESC LIMIT 1"
_BODIES: Final = (
    b"SELECT body FROM policies WHERE first_seen_at < %b ORDER BY first_seen_at, version"
)
_BODY: Final = b"SELECT body FROM policies WHERE version = %b"
_PAGE: Final = b"""
SELECT a.number, a.version, p.name, a.adopted_at, n.adopted_at
FROM policy_adoptions AS a
JOIN policies AS p ON p.version = a.version
LEFT JOIN policy_adoptions AS n ON n.number = a.number + 1
WHERE (%(version)b::text IS NULL OR a.version = %(version)b::text)
    AND (%(before)b::integer IS NULL OR a.number < %(before)b::integer)
ORDER BY a.number DESC LIMIT %(limit)b
"""


class SqlPolicies:
    """Policy versions that were in force."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def adopt(self, version: str, name: str, body: str) -> bool:
        """Keep a version, which is in force from now on; False when it was in force already."""
        self._session.defer(_KEEP, (version, name, body))
        while not self._session.rows(_ADOPT, {"version": version}):
            # In force already, or a rival was quicker: then what it brought is in force now.
            if self._session.rows(_IN_FORCE)[0][0] == version:
                return False
        return True

    def bodies(self, *, before: datetime) -> list[str]:
        """The texts of the versions that were in force before an instant, oldest first."""
        return [row[0] for row in self._session.rows(_BODIES, (before,))]

    def body(self, version: str) -> str | None:
        """The text of a version."""
        rows = self._session.rows(_BODY, (version,))
        return str(rows[0][0]) if rows else None

    def adoptions(
        self, *, version: str | None = None, before: int | None = None, limit: int
    ) -> list[AdoptionRow]:
        """Versions as they came into force, newest first: of one version, and before a number."""
        rows = self._session.rows(_PAGE, {"version": version, "before": before, "limit": limit})
        return [
            AdoptionRow(number=row[0], version=row[1], name=row[2], adopted_at=row[3], until=row[4])
            for row in rows
        ]
