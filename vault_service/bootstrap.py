"""Puts the service together: the only place that sees storage and Vault at once.

Each process role gets the logins that it needs and no others: a database role and Vault roles of
its own. `all` keeps them apart inside one process. Nothing is connected here; each part connects
when it is first used, so that a service starts, and says why it is not ready, while a dependency
is away.
"""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog

from keys import declared, rotation
from keys import inventory as key_inventory
from keys.data_keys import DataKeyPool, Unwrapper, WrappedKey
from keys.declared import Inventory
from keys.errors import CiphertextRejected
from keys.fingerprint import Fingerprinter
from keys.operations import KeyInfo
from keys.retry import ON_LINE_BUDGET
from keys.rotation import Begun
from keys.transit import Transit
from vault_service import __version__
from vault_service.domain import helpdesk
from vault_service.domain.classes import RULES
from vault_service.domain.grounds import Policy
from vault_service.domain.usage import Site
from vault_service.errors import SettingsError
from vault_service.outbound import HttpSender, MailRelay
from vault_service.policy import loader
from vault_service.services.access_reviews import PERIOD as REVIEW_PERIOD
from vault_service.services.access_reviews import ReviewDuty, Reviewing
from vault_service.services.accounting import Accounting
from vault_service.services.activity import Activity
from vault_service.services.adoption import Adoption
from vault_service.services.alarms import Alarms
from vault_service.services.archiving import Archiving
from vault_service.services.audit import Audit
from vault_service.services.authentication import Authentication
from vault_service.services.binding_check import BindingCheck
from vault_service.services.budgets import Budgets
from vault_service.services.communications import Communications
from vault_service.services.customer_erasure import CustomerErasures
from vault_service.services.customers import Customers
from vault_service.services.disclosure_token import TokenIssuer, TokenVerifier
from vault_service.services.disclosures import Disclosures
from vault_service.services.documents import KEK as EVIDENCE_KEK
from vault_service.services.documents import Documents
from vault_service.services.duties import Duty
from vault_service.services.erasing import PERIOD as ERASING_PERIOD
from vault_service.services.erasing import Erasing
from vault_service.services.erasure import Erasure
from vault_service.services.evidence import EvidenceDocuments
from vault_service.services.granting import Granting
from vault_service.services.health import Check, Finding, Health, Remembered
from vault_service.services.helpdesk import Helpdesk
from vault_service.services.holds import LegalHolds
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.housekeeping import PERIOD as HOUSEKEEPING_PERIOD
from vault_service.services.housekeeping import Housekeeping
from vault_service.services.intake import Intake, SignatureCheck
from vault_service.services.key_census import PERIOD as CENSUS_PERIOD
from vault_service.services.key_census import KeyCensus
from vault_service.services.key_rotation import KeyRotation
from vault_service.services.key_status import KeyStatus
from vault_service.services.lifecycle import Lifecycle
from vault_service.services.links import CustomerLinks
from vault_service.services.log_guard import LogGuard
from vault_service.services.log_keeper import LogKeeper
from vault_service.services.log_reading import LedgerReading
from vault_service.services.mail_answers import MailAnswers
from vault_service.services.modifications import Modifications
from vault_service.services.notices import Notices
from vault_service.services.policies import PolicyHistory
from vault_service.services.possession import Possession
from vault_service.services.principals import Principals
from vault_service.services.reading import Reading
from vault_service.services.recipients import RecipientRecords
from vault_service.services.reencryption import Reencryption
from vault_service.services.reindexing import KEYS as INDEX_KEYS
from vault_service.services.reindexing import Reindexer
from vault_service.services.retention import PERIOD as RETENTION_PERIOD
from vault_service.services.retention import Retention
from vault_service.services.reveal import Reveal
from vault_service.services.rewrapping import Rewrapping
from vault_service.services.rotation_work import PERIOD as ROTATION_PERIOD
from vault_service.services.rotation_work import RotationWork
from vault_service.services.rotations import Rotations
from vault_service.services.sequencing import KEY_NAME as LEDGER_KEY
from vault_service.services.sequencing import Sequencer
from vault_service.services.service_choices import ServiceChoices
from vault_service.services.sketches import Sketches
from vault_service.services.token_keys import KEY_NAME, TokenKeys
from vault_service.services.tokenization import Tokenization
from vault_service.services.transparency import Transparency
from vault_service.services.unassigned import UnassignedMessages
from vault_service.services.unusual import MISSED_SEARCHES, REFUSED_REVEALS, Unusual
from vault_service.services.usage import PERIOD as USAGE_PERIOD
from vault_service.services.usage import UsageReading, UsageUpkeep, VisitCounting
from vault_service.services.webhook_delivery import PERIOD as WEBHOOK_PERIOD
from vault_service.services.webhook_delivery import Endpoint, WebhookDelivery, WebhookPost
from vault_service.services.webhook_desk import WebhookDesk
from vault_service.services.webhooks import parse_secret
from vault_service.settings import ProcessRole, Settings
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

# Seconds for which a good answer to "are Vault's keys as declared?" is believed.
INVENTORY_KEPT: Final = 10.0
SLOW_KEPT: Final = 60.0
SIGNING_KEYS: Final = frozenset((KEY_NAME, LEDGER_KEY))

_log = structlog.get_logger(__name__)

# What `keys` tells of that somebody must look at, rather than a number that moves.
_ALARMS: Final = frozenset(("secret_id_intercepted", "breaker_opened"))


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
    disclosures: Disclosures | None = None
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


class _Parts:
    """Makes each connection once, and closes them all."""

    def __init__(self, settings: Settings, observe: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._observe = observe
        self._databases: dict[str, SqlUnitOfWork] = {}
        self._transits: dict[str, Transit] = {}
        self.closing = ExitStack()

    def database(self, role: str) -> SqlUnitOfWork:
        """Units of work as one database role.

        Raises:
            SettingsError: the role's URL is not set.
        """
        if role not in self._databases:
            url: str | None = getattr(self._settings, f"database_{role}_url")
            if url is None:
                raise SettingsError(
                    f"VAULT_SERVICE_DATABASE_{role.upper()}_URL is not set",
                    hint="each process role has a database login of its own",
                )
            engine = engines.create(
                url,
                application_name=f"vault-service {role}",
                pool_size=self._settings.database_pool,
            )
            self._databases[role] = SqlUnitOfWork(engine)
            self.closing.callback(self._databases[role].close)
        return self._databases[role]

    def transit(self, role: str, *, budget: float = ON_LINE_BUDGET) -> Transit:
        """Vault as one of its roles.

        Raises:
            SettingsError: Vault's address or the spool is not set.
        """
        settings = self._settings
        if settings.vault_address is None or settings.vault_spool is None:
            raise SettingsError(
                "VAULT_SERVICE_VAULT_ADDRESS and VAULT_SERVICE_VAULT_SPOOL are needed"
            )
        if role not in self._transits:
            self._transits[role] = Transit(
                address=settings.vault_address,
                role=role,
                spool=settings.vault_spool,
                mount=settings.vault_mount,
                approle_prefix=settings.vault_prefix,
                ca_file=settings.vault_ca_file,
                pool_size=settings.threads,
                observe=partial(self._observe, role),
                budget=budget,
            )
            self.closing.callback(self._transits[role].close)
        return self._transits[role]

    def checks(self) -> dict[str, Check]:
        """What readiness asks of everything made so far."""
        checks: dict[str, Check] = {
            f"database {role}": uow.ping for role, uow in self._databases.items()
        }
        for role, transit in self._transits.items():
            checks[f"vault {role}"] = transit.ready
        checks["vault keys"] = Remembered(self.check_keys, keep=INVENTORY_KEPT)
        first = next(iter(self._databases.values()))
        checks["schema"] = Remembered(partial(_schema, first), keep=SLOW_KEPT)
        durable = partial(_durable, first, production=self._settings.production)
        checks["durability"] = Remembered(durable, keep=SLOW_KEPT)
        return checks

    def check_keys(self) -> None:
        """Return if Vault's keys are as the inventory declares them.

        Raises:
            KeyNotReady: one is missing, of another type, exportable, deletable or open to backup,
                or Vault would make a key for any name that is mistyped.
            VaultUnavailable: Vault could not be asked.
        """
        key_inventory.require(self.inventory(), self.transit("inspect"))

    def inventory(self) -> Inventory:
        """The declared keys, where this service has them."""
        return declared.load(mount=self._settings.vault_mount, prefix=self._settings.vault_prefix)


def _durable(uow: SqlUnitOfWork, *, production: bool) -> None:
    reasons = uow.check_durability()
    if reasons and production:
        raise Finding("; ".join(reasons))
    for reason in reasons:
        _log.warning("not_durable", reason=reason)


def _schema(uow: SqlUnitOfWork) -> None:
    found = uow.check_schema()
    if found is not None:
        raise Finding(f"the schema is of revision {found}; run the migrations of this release")


@dataclass(frozen=True, slots=True)
class _Reader:
    """`rotation_ports.KeyReader` over any role that may read keys."""

    transit: Transit

    def read(self, key: str) -> KeyInfo:
        return self.transit.read_key(key)


@dataclass(frozen=True, slots=True)
class _Rotator(_Reader):
    """`rotation_ports.KeyRotator` over Vault's role `rotate`."""

    def begin(self, key: str, *, known: int | None = None) -> Begun:
        return rotation.begin(self.transit, key, known=known)

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> list[WrappedKey | CiphertextRejected]:
        return rotation.rewrap_batch(self.transit, wrapped)

    def retire(self, key: str, version: int) -> None:
        rotation.retire(self.transit, key, version)

    def trim(self, key: str, version: int) -> None:
        rotation.trim(self.transit, key, version)


@dataclass(frozen=True, slots=True)
class _SigningKey:
    """One of Vault's signing keys, as `Signer`, `PublicKeys` and `LogSigner`."""

    transit: Transit
    name: str = KEY_NAME

    def sign(self, message: bytes) -> tuple[int, bytes]:
        return self.transit.sign(self.name, message)

    def sign_many(self, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        return self.transit.sign_many(self.name, messages)

    def public_keys(self) -> dict[int, bytes]:
        return self.transit.public_keys(self.name)


@dataclass(frozen=True, slots=True)
class _IndexKeys(_Reader):
    """`reindex_ports.IndexKeys` over Vault's role `rotate`."""

    def renew(self, key: str, *, known: int) -> Begun:
        return rotation.renew(self.transit, key, known=known)

    def outdate(self, key: str, version: int) -> None:
        rotation.outdate(self.transit, key, version)


def _heard(role: str, event: str) -> None:
    """Tell of what happened between this process and Vault."""
    if event in _ALARMS:
        _log.error("alarm", alarm=event, vault_role=role)
    else:
        _log.info("vault", vault_event=event, vault_role=role)


def build(settings: Settings, *, observe: Callable[[str, str], None] = _heard) -> Services:
    """The use cases of `settings.process_role`.

    Args:
        settings: read and checked.
        observe: told (Vault role, event) of logins, renewals, outages and alarms.

    Raises:
        SettingsError: something that the role needs is not set, or the policy file is wrong.
    """
    parts = _Parts(settings, observe)
    role = settings.process_role
    policy = loader.load(settings.policy_file)
    served: dict[str, object] = {}
    audit = partial(Audit, process_role=role.value)
    if role in (ProcessRole.ALL, ProcessRole.INGEST):
        served |= _ingest(parts, audit, settings)
        served |= _visits(parts, settings)
    if role in (ProcessRole.ALL, ProcessRole.CONSOLE):
        served |= _console(parts, audit, policy, settings)
    if role in (ProcessRole.ALL, ProcessRole.REVEAL):
        served |= _reveal(parts, audit, policy, settings)
    if role is ProcessRole.WORKER:
        served |= _worker(parts, audit, policy, settings)
    own = _own_database(role)
    uow = parts.database(own)
    keys = TokenKeys(_SigningKey(parts.transit("inspect")))
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
        instance=_instance(),
    )


def _instance() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def _own_database(role: ProcessRole) -> str:
    """The database role with which a process authenticates its callers."""
    return ProcessRole.CONSOLE.value if role is ProcessRole.ALL else role.value


def _ingest(parts: _Parts, audit: Callable[..., Audit], settings: Settings) -> dict[str, object]:
    uow = parts.database("ingest")
    told = audit(uow=uow)
    transit = parts.transit("ingest")
    fingerprints = Fingerprinter(transit)
    guard = _guard(uow, transit, told)
    pool = DataKeyPool(transit)
    modifications = Modifications(
        uow=uow, data_keys=pool, fingerprints=fingerprints, audit=told, honeytokens=guard
    )
    tokenization = Tokenization(uow=uow, data_keys=pool, fingerprints=fingerprints, audit=told)
    communications = Communications(
        uow=uow, data_keys=pool, fingerprints=fingerprints, audit=told, honeytokens=guard
    )
    return {
        "tokenization": tokenization,
        "activity": Activity(
            uow=uow, data_keys=pool, fingerprints=fingerprints, audit=told, honeytokens=guard
        ),
        "services": ServiceChoices(
            uow=uow, tokenization=tokenization, audit=told, honeytokens=guard
        ),
        "communications": communications,
        "intake": Intake(
            uow=uow,
            fingerprints=fingerprints,
            communications=communications,
            modifications=modifications,
            answers=_mail_answers(settings),
            server=settings.mail_server,
            signatures=_signatures(settings),
        ),
        "modifications": modifications,
        "helpdesk": Helpdesk(
            uow=uow,
            modifications=modifications,
            fingerprints=fingerprints,
            audit=told,
            secrets=[parse_secret(each) for each in (settings.helpdesk_secrets or "").split()],
            mapping=_helpdesk_mapping(settings),
        ),
        "unassigned": UnassignedMessages(uow=uow, audit=told, honeytokens=guard),
        "links": CustomerLinks(uow=uow, audit=told),
        "customers": Customers(uow=uow, fingerprints=fingerprints, audit=told, honeytokens=guard),
        "reading": Reading(
            uow=uow,
            fingerprints=fingerprints,
            audit=told,
            honeytokens=guard,
            missed=_missed(uow, told, settings),
        ),
        "erasure": Erasure(uow=uow, audit=told),
    }


def _mail_answers(settings: Settings) -> MailAnswers | None:
    if settings.mail_relay is None or settings.mail_sender is None:
        return None
    return MailAnswers(relay=MailRelay(settings.mail_relay), sender=settings.mail_sender)


def _signatures(settings: Settings) -> SignatureCheck | None:
    if not settings.mail_dkim:
        return None
    # Not at the top: a client of the domain name system, for the one process that asked for it.
    from vault_service.intake.signatures import DkimCheck  # noqa: PLC0415

    return DkimCheck()


def _helpdesk_mapping(settings: Settings) -> helpdesk.HelpdeskMapping | None:
    if settings.helpdesk_mapping is None:
        return None
    try:
        text = settings.helpdesk_mapping.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError("VAULT_SERVICE_HELPDESK_MAPPING names no readable text file") from exc
    return helpdesk.load(text)


def _visits(parts: _Parts, settings: Settings) -> dict[str, object]:
    """What counts visits, where a website is named: with the rights to write, and to read nothing.

    Raises:
        SettingsError: the extra `usage` is not installed.
    """
    if not settings.usage_sites:
        return {}
    site = Site(tuple(settings.usage_sites.split()), tuple(settings.usage_pages.split()))
    visits = VisitCounting(uow=parts.database("ingest"), sketches=Sketches(), site=site)
    # Closed before its connections are.
    parts.closing.callback(visits.close)
    return {"visits": visits}


def _console(
    parts: _Parts, audit: Callable[..., Audit], policy: Policy, settings: Settings
) -> dict[str, object]:
    uow = parts.database("console")
    told = audit(uow=uow)
    transit = parts.transit("ingest")
    data_keys, unwrapping = DataKeyPool(transit), Unwrapper(parts.transit("review"))
    documents = Documents(data_keys=data_keys, unwrapping=unwrapping)
    recipients = RecipientRecords(uow=uow, documents=documents, policy=policy, audit=told)
    guard = _guard(uow, transit, told)
    return {
        "principals": Principals(uow=uow, audit=told),
        "rotations": Rotations(uow=uow, keys=_keks() | SIGNING_KEYS, audit=told),
        "key_status": KeyStatus(
            uow=uow,
            keys=_Reader(parts.transit("inspect")),
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
            uow=uow, keys=_SigningKey(parts.transit("inspect"), LEDGER_KEY), audit=told
        ),
        "disclosures": Disclosures(
            uow=uow,
            documents=documents,
            recipients=recipients,
            policy=policy,
            audit=told,
            honeytokens=guard,
        ),
        "notices": Notices(uow=uow, policy=policy, audit=told, honeytokens=guard),
        "transparency": Transparency(uow=uow, audit=told),
        "usage": UsageReading(uow=uow, audit=told),
        "reading": Reading(
            uow=uow,
            fingerprints=Fingerprinter(transit),
            audit=told,
            honeytokens=guard,
            missed=_missed(uow, told, settings),
        ),
        "honeytokens": guard,
        "webhooks": WebhookDesk(uow=uow, audit=told),
        "accounting": Accounting(uow=uow, audit=told, honeytokens=guard),
    }


def _reveal(
    parts: _Parts, audit: Callable[..., Audit], policy: Policy, settings: Settings
) -> dict[str, object]:
    uow = parts.database("reveal")
    told = audit(uow=uow)
    signing = _SigningKey(parts.transit("sign-token"))
    keys = TokenKeys(signing)
    issuer = _issuer(settings)
    proofs = Possession(uow=uow, base=issuer)
    alarms = Alarms(uow=uow, audit=told)
    return {
        "granting": Granting(
            uow=uow,
            issuer=TokenIssuer(signing, keys, issuer=issuer, audience=settings.audience),
            proofs=proofs,
            policy=policy,
            audit=told,
        ),
        "reveal": Reveal(
            uow=uow,
            unwrapping=Unwrapper(parts.transit("reveal")),
            verifier=TokenVerifier(keys),
            proofs=proofs,
            issuer=issuer,
            audience=settings.audience,
            audit=told,
            guard=LogGuard(uow, stop_after=settings.ledger_stop_seconds),
            budgets=Budgets(policy=policy, alarms=alarms),
            alarms=alarms,
            honeytokens=_guard(uow, parts.transit("reveal"), told),
            refused=Unusual(REFUSED_REVEALS, limit=settings.alarm_refused_reveals, alarms=alarms),
        ),
    }


def _guard(uow: SqlUnitOfWork, transit: Transit, audit: Audit) -> Honeytokens:
    """The guard of what no honest caller touches, for one database role."""
    return Honeytokens(uow=uow, vault=transit, audit=audit, alarms=Alarms(uow=uow, audit=audit))


def _missed(uow: SqlUnitOfWork, audit: Audit, settings: Settings) -> Unusual:
    """Counts searches that find nothing."""
    return Unusual(
        MISSED_SEARCHES,
        limit=settings.alarm_missed_searches,
        alarms=Alarms(uow=uow, audit=audit),
    )


def _worker(
    parts: _Parts, audit: Callable[..., Audit], policy: Policy, settings: Settings
) -> dict[str, object]:
    uow = parts.database("worker")
    told = audit(uow=uow)
    alarms = Alarms(uow=uow, audit=told)
    sequencer = Sequencer(
        uow=uow,
        signer=_SigningKey(parts.transit("sign-ledger"), LEDGER_KEY),
        origin=_log_origin(settings),
    )
    review_duty = ReviewDuty(uow=uow, audit=told, alarms=alarms, holder=_instance())
    erasing = Erasing(uow=uow, audit=told, horizon_days=settings.backup_horizon_days)
    usage_upkeep = UsageUpkeep(uow=uow, keep_days=settings.usage_keep_days)
    retention = Retention(uow=uow, audit=told, periods=policy.retention)
    housekeeping = Housekeeping(uow=uow, audit=told, holder=_instance())
    # With the patience of a caller, not of a job: rows are locked while Vault rewraps their keys.
    rotator = _Rotator(parts.transit("rotate"))
    key_rotation = KeyRotation(
        uow=uow, rotator=rotator, keks=_keks(), signing=SIGNING_KEYS, audit=told
    )
    specs = parts.inventory().keys
    rewrapping = Rewrapping(uow=uow, rotator=rotator, audit=told, alarms=alarms)
    census = KeyCensus(uow=uow, keys=rotator, rewrapping=rewrapping, specs=specs, alarms=alarms)
    rotation_work = RotationWork(
        uow=uow,
        rotator=rotator,
        key_rotation=key_rotation,
        rewrapping=rewrapping,
        census=census,
        # Not the ledger's by itself: auditors hold its key, and must be told before.
        periods={
            spec.name: spec.rotate_after for spec in specs if spec.name in _keks() | {KEY_NAME}
        },
        signing=SIGNING_KEYS,
        indexes=frozenset(INDEX_KEYS),
        horizon=timedelta(days=settings.backup_horizon_days) or None,
        audit=told,
        alarms=alarms,
    )
    return {
        "alarms": alarms,
        "housekeeping": housekeeping,
        "usage_upkeep": usage_upkeep,
        "erasing": erasing,
        "retention": retention,
        "review_duty": review_duty,
        "duties": (
            Duty(name="housekeeping", period=HOUSEKEEPING_PERIOD, run=housekeeping.run),
            Duty(name="access_reviews", period=REVIEW_PERIOD, run=review_duty.run),
            Duty(name="erasing", period=ERASING_PERIOD, run=erasing.run),
            Duty(name="retention", period=RETENTION_PERIOD, run=retention.run),
            Duty(name="rotation", period=ROTATION_PERIOD, run=rotation_work.run),
            Duty(name="usage", period=USAGE_PERIOD, run=usage_upkeep.run),
            Duty(name="key_census", period=CENSUS_PERIOD, run=census.run),
            *_webhooks(uow, alarms, settings),
        ),
        "key_rotation": key_rotation,
        "rotation_work": rotation_work,
        "key_census": census,
        "log_keeper": LogKeeper(sequencer=sequencer, uow=uow, alarms=alarms),
    }


def _webhooks(uow: SqlUnitOfWork, alarms: Alarms, settings: Settings) -> Iterator[Duty]:
    """The duties towards webhooks: one at the outbox, and one for each endpoint.

    Raises:
        SettingsError: a secret is not one.
    """
    endpoints = [
        Endpoint(name=_endpoint_name(url), url=url, family=family)
        for family, url in settings.webhooks
    ]
    try:
        secrets = [parse_secret(each) for each in (settings.webhook_secrets or "").split()]
    except ValueError as error:
        raise SettingsError(f"VAULT_SERVICE_WEBHOOK_SECRETS: {error}") from None
    post = WebhookPost(uow=uow, endpoints=endpoints)
    yield Duty(name="webhooks", period=WEBHOOK_PERIOD, run=post.run)
    try:
        sender = HttpSender(ca_file=settings.webhook_ca_file)
    except OSError as error:
        raise SettingsError(
            "VAULT_SERVICE_WEBHOOK_CA_FILE names no readable file of certificates"
        ) from error
    for endpoint in {each.name: each for each in endpoints}.values():
        delivery = WebhookDelivery(
            uow=uow, endpoint=endpoint, secrets=secrets, sender=sender, alarms=alarms
        )
        yield Duty(name=f"webhook {endpoint.name}", period=WEBHOOK_PERIOD, run=delivery.run)


def _endpoint_name(url: str) -> str:
    """What an endpoint is called: its host, and enough of a hash to part two of one host."""
    digest = hashlib.sha256(url.encode()).hexdigest()
    return f"{urlsplit(url).hostname}-{digest[:8]}"


def _keks() -> frozenset[str]:
    """The key-encryption keys under which something lies in the database."""
    return frozenset({rule.kek for rule in RULES.values()} | {EVIDENCE_KEK})


@contextmanager
def archiving(settings: Settings) -> Iterator[Archiving]:
    """The use case that moves old entries into files; logs in as the schema's owner.

    Raises:
        SettingsError: the owner's database URL is not set.
    """
    parts = _Parts(settings, _heard)
    with parts.closing:
        uow = parts.database("owner")
        yield Archiving(uow=uow, audit=Audit(process_role="cli", uow=uow))


@contextmanager
def binding_check(settings: Settings) -> Iterator[BindingCheck]:
    """The use case that compares all records with the log; logs in as the schema's owner.

    Raises:
        SettingsError: the owner's database URL is not set.
    """
    parts = _Parts(settings, _heard)
    with parts.closing:
        yield BindingCheck(uow=parts.database("owner"))


@contextmanager
def retention(settings: Settings) -> Iterator[Retention]:
    """The use case that ends what has been kept for its time; logs in as the worker.

    Raises:
        SettingsError: the worker's database URL is not set, or the policy file is wrong.
    """
    parts = _Parts(settings, _heard)
    periods = loader.load(settings.policy_file).retention
    with parts.closing:
        uow = parts.database("worker")
        yield Retention(uow=uow, audit=Audit(process_role="cli", uow=uow), periods=periods)


@contextmanager
def adoption(settings: Settings) -> Iterator[Adoption]:
    """The use case that binds the records of before bindings; logs in as the worker.

    Raises:
        SettingsError: the worker's database URL is not set.
    """
    parts = _Parts(settings, _heard)
    with parts.closing:
        uow = parts.database("worker")
        yield Adoption(uow=uow, audit=Audit(process_role="cli", uow=uow))


@contextmanager
def reencryption(settings: Settings) -> Iterator[Reencryption]:
    """The use case that seals values anew: the owner's login, and the right to open and to wrap.

    Raises:
        SettingsError: the owner's database URL is not set, or Vault's address or the spool.
    """
    parts = _Parts(settings, _heard)
    with parts.closing:
        uow = parts.database("owner")
        told = Audit(process_role="cli", uow=uow)
        yield Reencryption(
            uow=uow,
            # With the patience of a caller: rows are locked while Vault unwraps.
            unwrapping=Unwrapper(parts.transit("reveal")),
            data_keys=DataKeyPool(parts.transit("ingest")),
            keks=_keks() - {EVIDENCE_KEK},
            audit=told,
            alarms=Alarms(uow=uow, audit=told),
        )


@contextmanager
def reindexing(settings: Settings) -> Iterator[Reindexer]:
    """The use case that indexes values anew: the owner's login, and the right to open them.

    Raises:
        SettingsError: the owner's database URL is not set, or Vault's address or the spool.
    """
    parts = _Parts(settings, _heard)
    with parts.closing:
        uow = parts.database("owner")
        told = Audit(process_role="cli", uow=uow)
        yield Reindexer(
            uow=uow,
            keys=_IndexKeys(parts.transit("rotate")),
            unwrapping=Unwrapper(parts.transit("reveal")),
            fingerprints=Fingerprinter(parts.transit("ingest")),
            audit=told,
            alarms=Alarms(uow=uow, audit=told),
        )


def _log_origin(settings: Settings) -> str:
    """The name of a log that has none yet: where it is served, as C2SP tlog-tiles advises."""
    return f"{_issuer(settings).partition('://')[2].rstrip('/')}/v1/ledger"


def _issuer(settings: Settings) -> str:
    return settings.issuer or f"http://{settings.host}:{settings.port}"
