"""The use cases of the role `worker`: it works by itself, and answers nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from vault_service.bootstrap.connections import Connections
from vault_service.bootstrap.names import instance, log_origin
from vault_service.bootstrap.vault_keys import SIGNING_KEYS, Rotator, SigningKey, keks
from vault_service.domain.grounds import Policy
from vault_service.errors import SettingsError
from vault_service.outbound import HttpSender
from vault_service.services.access_reviews import PERIOD as REVIEW_PERIOD
from vault_service.services.access_reviews import ReviewDuty
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.duties import Duty
from vault_service.services.erasing import PERIOD as ERASING_PERIOD
from vault_service.services.erasing import Erasing
from vault_service.services.housekeeping import PERIOD as HOUSEKEEPING_PERIOD
from vault_service.services.housekeeping import Housekeeping
from vault_service.services.key_census import PERIOD as CENSUS_PERIOD
from vault_service.services.key_census import KeyCensus
from vault_service.services.key_rotation import KeyRotation
from vault_service.services.log_keeper import LogKeeper
from vault_service.services.reindexing import KEYS as INDEX_KEYS
from vault_service.services.retention import PERIOD as RETENTION_PERIOD
from vault_service.services.retention import Retention
from vault_service.services.rewrapping import Rewrapping
from vault_service.services.rotation_work import PERIOD as ROTATION_PERIOD
from vault_service.services.rotation_work import RotationWork
from vault_service.services.sequencing import KEY_NAME as LEDGER_KEY
from vault_service.services.sequencing import Sequencer
from vault_service.services.token_keys import KEY_NAME
from vault_service.services.usage import PERIOD as USAGE_PERIOD
from vault_service.services.usage import UsageUpkeep
from vault_service.services.webhook_delivery import PERIOD as WEBHOOK_PERIOD
from vault_service.services.webhook_delivery import Endpoint, WebhookDelivery, WebhookPost
from vault_service.services.webhooks import parse_secret
from vault_service.settings import Settings
from vault_service.storage.unit_of_work import SqlUnitOfWork


def use_cases(
    parts: Connections, audit: Callable[..., Audit], policy: Policy, settings: Settings
) -> dict[str, object]:
    """Fields of `process.Services`, by name."""
    uow = parts.database("worker")
    told = audit(uow=uow)
    alarms = Alarms(uow=uow, audit=told)
    sequencer = Sequencer(
        uow=uow,
        signer=SigningKey(parts.transit("sign-ledger"), LEDGER_KEY),
        origin=log_origin(settings),
    )
    review_duty = ReviewDuty(uow=uow, audit=told, alarms=alarms, holder=instance())
    erasing = Erasing(uow=uow, audit=told, horizon_days=settings.backup_horizon_days)
    usage_upkeep = UsageUpkeep(uow=uow, keep_days=settings.usage_keep_days)
    retention = Retention(uow=uow, audit=told, periods=policy.retention)
    housekeeping = Housekeeping(uow=uow, audit=told, holder=instance())
    # With the patience of a caller, not of a job: rows are locked while Vault rewraps their keys.
    rotator = Rotator(parts.transit("rotate"))
    key_rotation = KeyRotation(
        uow=uow, rotator=rotator, keks=keks(), signing=SIGNING_KEYS, audit=told
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
            spec.name: spec.rotate_after for spec in specs if spec.name in keks() | {KEY_NAME}
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
