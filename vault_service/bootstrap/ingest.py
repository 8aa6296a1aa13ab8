"""The use cases of the role `ingest`: it takes values in, and opens none."""

from __future__ import annotations

from collections.abc import Callable

from keys.data_keys import DataKeyPool
from keys.fingerprint import Fingerprinter
from vault_service.bootstrap.connections import Connections
from vault_service.bootstrap.watching import honeytoken_guard, missed_searches
from vault_service.domain import helpdesk
from vault_service.domain.usage import Site
from vault_service.errors import SettingsError
from vault_service.outbound import MailRelay
from vault_service.services.activity import Activity
from vault_service.services.audit import Audit
from vault_service.services.communications import Communications
from vault_service.services.customers import Customers
from vault_service.services.erasure import Erasure
from vault_service.services.helpdesk import Helpdesk
from vault_service.services.intake import Intake, SignatureCheck
from vault_service.services.links import CustomerLinks
from vault_service.services.mail_answers import MailAnswers
from vault_service.services.modifications import Modifications
from vault_service.services.reading import Reading
from vault_service.services.service_choices import ServiceChoices
from vault_service.services.sketches import Sketches
from vault_service.services.tokenization import Tokenization
from vault_service.services.unassigned import UnassignedMessages
from vault_service.services.usage import VisitCounting
from vault_service.services.webhooks import parse_secret
from vault_service.settings import Settings


def use_cases(
    parts: Connections, audit: Callable[..., Audit], settings: Settings
) -> dict[str, object]:
    """Fields of `process.Services`, by name.

    Raises:
        SettingsError: a setting is wrong, or the extra `usage` that it asks for is not installed.
    """
    uow = parts.database("ingest")
    told = audit(uow=uow)
    transit = parts.transit("ingest")
    fingerprints = Fingerprinter(transit)
    guard = honeytoken_guard(uow, transit, told)
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
            missed=missed_searches(uow, told, settings),
        ),
        "erasure": Erasure(uow=uow, audit=told),
        **_visits(parts, settings),
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


def _visits(parts: Connections, settings: Settings) -> dict[str, object]:
    """What counts visits, where a website is named: with the rights to write, and to read nothing.

    Raises:
        SettingsError: the extra `usage` is not installed.
    """
    if not settings.usage_sites:
        return {}
    site = Site(tuple(settings.usage_sites.split()), tuple(settings.usage_pages.split()))
    counting = VisitCounting(uow=parts.database("ingest"), sketches=Sketches(), site=site)
    # Closed before its connections are.
    parts.closing.callback(counting.close)
    return {"visits": counting}
