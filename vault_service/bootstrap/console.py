"""The use cases of the role `console`: what people ask for and decide."""

from __future__ import annotations

from collections.abc import Callable

from keys.data_keys import DataKeyPool, Unwrapper
from keys.fingerprint import Fingerprinter
from vault_service.bootstrap.connections import Connections
from vault_service.bootstrap.vault_keys import SIGNING_KEYS, Reader, SigningKey, keks
from vault_service.bootstrap.watching import honeytoken_guard, missed_searches
from vault_service.domain.grounds import Policy
from vault_service.services.access_reviews import Reviewing
from vault_service.services.accounting import Accounting
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.customer_erasure import CustomerErasures
from vault_service.services.disclosures.decisions import DisclosureDecisions
from vault_service.services.disclosures.reading import DisclosureReading
from vault_service.services.disclosures.requests import DisclosureRequests
from vault_service.services.documents import Documents
from vault_service.services.evidence import EvidenceDocuments
from vault_service.services.holds import LegalHolds
from vault_service.services.key_status import KeyStatus
from vault_service.services.log_reading import LedgerReading
from vault_service.services.notices import Notices
from vault_service.services.policies import PolicyHistory
from vault_service.services.principals import Principals
from vault_service.services.reading import Reading
from vault_service.services.recipients import RecipientRecords
from vault_service.services.rotations import Rotations
from vault_service.services.sequencing import KEY_NAME as LEDGER_KEY
from vault_service.services.transparency import Transparency
from vault_service.services.usage import UsageReading
from vault_service.services.webhook_desk import WebhookDesk
from vault_service.settings import Settings


def use_cases(
    parts: Connections, audit: Callable[..., Audit], policy: Policy, settings: Settings
) -> dict[str, object]:
    """Fields of `process.Services`, by name."""
    uow = parts.database("console")
    told = audit(uow=uow)
    transit = parts.transit("ingest")
    data_keys, unwrapping = DataKeyPool(transit), Unwrapper(parts.transit("review"))
    documents = Documents(data_keys=data_keys, unwrapping=unwrapping)
    recipients = RecipientRecords(uow=uow, documents=documents, policy=policy, audit=told)
    guard = honeytoken_guard(uow, transit, told)
    return {
        "principals": Principals(uow=uow, audit=told),
        "rotations": Rotations(uow=uow, keys=keks() | SIGNING_KEYS, audit=told),
        "key_status": KeyStatus(
            uow=uow,
            keys=Reader(parts.transit("inspect")),
            specs=parts.inventory().keys,
            audit=told,
        ),
        "recipients": recipients,
        "evidence": EvidenceDocuments(
            uow=uow,
            data_keys=data_keys,
            unwrapping=unwrapping,
            documents=documents,
            audit=told,
        ),
        "reviewing": Reviewing(uow=uow, audit=told, alarms=Alarms(uow=uow, audit=told)),
        "erasures": CustomerErasures(uow=uow, audit=told, honeytokens=guard),
        "holds": LegalHolds(uow=uow, documents=documents, audit=told, honeytokens=guard),
        "policies": PolicyHistory(uow=uow, audit=told),
        "ledger": LedgerReading(
            uow=uow, keys=SigningKey(parts.transit("inspect"), LEDGER_KEY), audit=told
        ),
        "disclosures": DisclosureRequests(
            uow=uow,
            documents=documents,
            recipients=recipients,
            policy=policy,
            audit=told,
            honeytokens=guard,
        ),
        "decisions": DisclosureDecisions(uow=uow, documents=documents, policy=policy, audit=told),
        "disclosure_reading": DisclosureReading(
            uow=uow, documents=documents, policy=policy, audit=told
        ),
        "notices": Notices(uow=uow, policy=policy, audit=told, honeytokens=guard),
        "transparency": Transparency(uow=uow, audit=told),
        "usage": UsageReading(uow=uow, audit=told),
        "reading": Reading(
            uow=uow,
            fingerprints=Fingerprinter(transit),
            audit=told,
            honeytokens=guard,
            missed=missed_searches(uow, told, settings),
        ),
        "honeytokens": guard,
        "webhooks": WebhookDesk(uow=uow, audit=told),
        "accounting": Accounting(uow=uow, audit=told, honeytokens=guard),
    }
