"""What notices misuse, for the roles that serve people."""

from __future__ import annotations

from keys.transit import Transit
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.unusual import MISSED_SEARCHES, Unusual
from vault_service.settings import Settings
from vault_service.storage.unit_of_work import SqlUnitOfWork


def honeytoken_guard(uow: SqlUnitOfWork, transit: Transit, audit: Audit) -> Honeytokens:
    """The guard of what no honest caller touches, for one database role."""
    return Honeytokens(uow=uow, vault=transit, audit=audit, alarms=Alarms(uow=uow, audit=audit))


def missed_searches(uow: SqlUnitOfWork, audit: Audit, settings: Settings) -> Unusual:
    """Counts searches that find nothing."""
    return Unusual(
        MISSED_SEARCHES,
        limit=settings.alarm_missed_searches,
        alarms=Alarms(uow=uow, audit=audit),
    )
