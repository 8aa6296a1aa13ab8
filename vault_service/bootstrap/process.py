"""Puts a process together: what its role serves, with the logins that its role needs.

Each process role gets the logins that it needs and no others: a database role and Vault roles of
its own. `all` keeps them apart inside one process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from vault_service import __version__
from vault_service.bootstrap import console, ingest, reveal, worker
from vault_service.bootstrap.connections import Connections, heard
from vault_service.bootstrap.names import instance
from vault_service.bootstrap.vault_keys import SigningKey
from vault_service.domain.grounds import Policy
from vault_service.policy import loader
from vault_service.services.access_reviews import ReviewDuty, Reviewing
from vault_service.services.accounting import Accounting
from vault_service.services.activity import Activity
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.authentication import Authentication
from vault_service.services.communications import Communications
from vault_service.services.customer_erasure import CustomerErasures
from vault_service.services.customers import Customers
from vault_service.services.disclosures.decisions import DisclosureDecisions
from vault_service.services.disclosures.reading import DisclosureReading
from vault_service.services.disclosures.requests import DisclosureRequests
from vault_service.services.duties import Duty
from vault_service.services.erasing import Erasing
from vault_service.services.erasure import Erasure
from vault_service.services.evidence import EvidenceDocuments
from vault_service.services.granting import Granting
from vault_service.services.health import Health
from vault_service.services.helpdesk import Helpdesk
from vault_service.services.holds import LegalHolds
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.housekeeping import Housekeeping
from vault_service.services.intake import Intake
from vault_service.services.key_census import KeyCensus
from vault_service.services.key_rotation import KeyRotation
from vault_service.services.key_status import KeyStatus
from vault_service.services.lifecycle import Lifecycle
from vault_service.services.links import CustomerLinks
from vault_service.services.log_guard import LogGuard
from vault_service.services.log_keeper import LogKeeper
from vault_service.services.log_reading import LedgerReading
from vault_service.services.modifications import Modifications
from vault_service.services.notices import Notices
from vault_service.services.policies import PolicyHistory
from vault_service.services.principals import Principals
from vault_service.services.reading import Reading
from vault_service.services.recipients import RecipientRecords
from vault_service.services.retention import Retention
from vault_service.services.reveal.use_case import Reveal
from vault_service.services.rotation_work import RotationWork
from vault_service.services.rotations import Rotations
from vault_service.services.service_choices import ServiceChoices
from vault_service.services.token_keys import TokenKeys
from vault_service.services.tokenization import Tokenization
from vault_service.services.transparency import Transparency
from vault_service.services.unassigned import UnassignedMessages
from vault_service.services.usage import UsageReading, UsageUpkeep, VisitCounting
from vault_service.services.webhook_desk import WebhookDesk
from vault_service.settings import ProcessRole, Settings
from vault_service.storage.unit_of_work import SqlUnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The use cases that a process serves; None where its role does not serve them."""

    settings: Settings
    policy: Policy
    authentication: Authentication
    health: Health
    lifecycle: Lifecycle
    check_keys: Callable[[], None]
    jwks: Callable[[], dict[str, list[dict[str, str]]]]
    tokenization: Tokenization | None = None
    erasure: Erasure | None = None
    modifications: Modifications | None = None
    helpdesk: Helpdesk | None = None
    intake: Intake | None = None
    unassigned: UnassignedMessages | None = None
    links: CustomerLinks | None = None
    services: ServiceChoices | None = None
    activity: Activity | None = None
    customers: Customers | None = None
    communications: Communications | None = None
    reading: Reading | None = None
    principals: Principals | None = None
    disclosures: DisclosureRequests | None = None
    decisions: DisclosureDecisions | None = None
    disclosure_reading: DisclosureReading | None = None
    recipients: RecipientRecords | None = None
    accounting: Accounting | None = None
    evidence: EvidenceDocuments | None = None
    holds: LegalHolds | None = None
    notices: Notices | None = None
    transparency: Transparency | None = None
    visits: VisitCounting | None = None
    usage: UsageReading | None = None
    usage_upkeep: UsageUpkeep | None = None
    erasures: CustomerErasures | None = None
    reviewing: Reviewing | None = None
    review_duty: ReviewDuty | None = None
    erasing: Erasing | None = None
    retention: Retention | None = None
    honeytokens: Honeytokens | None = None
    webhooks: WebhookDesk | None = None
    granting: Granting | None = None
    reveal: Reveal | None = None
    alarms: Alarms | None = None
    housekeeping: Housekeeping | None = None
    duties: tuple[Duty, ...] = ()
    key_rotation: KeyRotation | None = None
    rotation_work: RotationWork | None = None
    rotations: Rotations | None = None
    key_census: KeyCensus | None = None
    key_status: KeyStatus | None = None
    log_keeper: LogKeeper | None = None
    policies: PolicyHistory | None = None
    ledger: LedgerReading | None = None
    close: Callable[[], None] = field(default=lambda: None)


def build(settings: Settings, *, observe: Callable[[str, str], None] = heard) -> Services:
    """The use cases of `settings.process_role`.

    Args:
        settings: read and checked.
        observe: told (Vault role, event) of logins, renewals, outages and alarms.

    Raises:
        SettingsError: something that the role needs is not set, or the policy file is wrong.
    """
    parts = Connections(settings, observe)
    role = settings.process_role
    policy = loader.load(settings.policy_file)
    served: dict[str, object] = {}
    audit = partial(Audit, process_role=role.value)
    if role in (ProcessRole.ALL, ProcessRole.INGEST):
        served |= ingest.use_cases(parts, audit, settings)
    if role in (ProcessRole.ALL, ProcessRole.CONSOLE):
        served |= console.use_cases(parts, audit, policy, settings)
    if role in (ProcessRole.ALL, ProcessRole.REVEAL):
        served |= reveal.use_cases(parts, audit, policy, settings)
    if role is ProcessRole.WORKER:
        served |= worker.use_cases(parts, audit, policy, settings)
    own = _own_database(role)
    uow = parts.database(own)
    keys = TokenKeys(SigningKey(parts.transit("inspect")))
    health = Health(
        parts.checks() | {"ledger": LogGuard(uow, stop_after=settings.ledger_stop_seconds).check}
    )
    parts.closing.callback(health.close)
    return Services(
        settings=settings,
        policy=policy,
        authentication=Authentication(uow=uow, audit=audit(uow=uow)),
        health=health,
        check_keys=parts.check_keys,
        lifecycle=_lifecycle(settings, uow, audit(uow=uow), policy),
        jwks=keys.jwks,
        close=parts.closing.close,
        **served,  # type: ignore[arg-type]  # each part returns fields of Services by name
    )


def _lifecycle(settings: Settings, uow: SqlUnitOfWork, audit: Audit, policy: Policy) -> Lifecycle:
    keeps_policies = settings.process_role in (ProcessRole.ALL, ProcessRole.CONSOLE)
    return Lifecycle(
        uow=uow,
        audit=audit,
        policy=policy,
        body=settings.policy_file.read_bytes().decode() if keeps_policies else None,
        version=__version__,
        instance=instance(),
    )


def _own_database(role: ProcessRole) -> str:
    """The database role with which a process authenticates its callers."""
    return ProcessRole.CONSOLE.value if role is ProcessRole.ALL else role.value
