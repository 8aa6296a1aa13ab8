"""Tells whether the database keeps what it has acknowledged, and which schema it holds.

A commit that can be lost un-spends a disclosure token that was used. So the service refuses, in
production, a server that does not write through, and one whose standbys may lag behind it: after
a failover they know less than the callers were told. Readable by every database role.
"""

from __future__ import annotations

from typing import Final

from vault_service.storage.session import Session

# The revision that this release's statements are written for: the newest in migrations/.
SCHEMA_REVISION: Final = "0035"

# What a subscriber to logical changes has is no standby, and a base backup is none yet. A role
# that may not see the state of replication sees that it is there, which counts as a standby.
_SETTINGS: Final = b"""
SELECT
    current_setting('fsync'),
    current_setting('full_page_writes'),
    current_setting('synchronous_commit'),
    current_setting('synchronous_standby_names'),
    (
        SELECT count(*) FROM pg_stat_replication AS r
        WHERE r.state IS DISTINCT FROM 'backup'
            AND NOT EXISTS (
                SELECT FROM pg_replication_slots AS s
                WHERE s.active_pid = r.pid AND s.slot_type = 'logical'
            )
    )
"""
_REVISION: Final = b"SELECT version_num FROM alembic_version"
_HAS_REVISIONS: Final = b"SELECT to_regclass('alembic_version') IS NOT NULL"


def check_durability(session: Session) -> list[str]:
    """Return each reason why an acknowledged commit could be lost; none means it cannot.

    Raises:
        Unavailable: the database gave no answer.
    """
    ((fsync, full_pages, commit, names, standbys),) = session.rows(_SETTINGS)
    return judge(fsync=fsync, full_pages=full_pages, commit=commit, names=names, standbys=standbys)


def judge(*, fsync: str, full_pages: str, commit: str, names: str, standbys: int) -> list[str]:
    """Return the reasons that these settings give; `standbys` is how many are attached."""
    reasons = []
    if fsync != "on":
        reasons.append("fsync is off: a crash of the machine loses what was acknowledged")
    if full_pages != "on":
        reasons.append("full_page_writes is off: a crash of the machine may leave broken pages")
    if commit == "off":
        reasons.append("synchronous_commit is off: commits are acknowledged before they are kept")
    if standbys and not names.strip():
        reasons.append(
            "standbys are attached and synchronous_standby_names is empty:"
            " a failover loses what they have not received"
        )
    if names.strip() and commit == "local":
        reasons.append("synchronous_commit is local: commits do not wait for the standbys")
    return reasons


def check_schema(session: Session) -> str | None:
    """Return the schema's revision when it is not this release's, `none` when there is none.

    Raises:
        Unavailable: the database gave no answer.
    """
    if not session.rows(_HAS_REVISIONS)[0][0]:
        return "none"
    found = [str(row[0]) for row in session.rows(_REVISION)]
    return None if found == [SCHEMA_REVISION] else ",".join(found) or "none"
