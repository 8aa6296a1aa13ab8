"""The use cases of the role `reveal`: it turns grants into values."""

from __future__ import annotations

from collections.abc import Callable

from keys.data_keys import Unwrapper
from vault_service.bootstrap.connections import Connections
from vault_service.bootstrap.names import issuer_of
from vault_service.bootstrap.vault_keys import SigningKey
from vault_service.bootstrap.watching import honeytoken_guard
from vault_service.domain.grounds import Policy
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.budgets import Budgets
from vault_service.services.disclosure_token import TokenIssuer, TokenVerifier
from vault_service.services.granting import Granting
from vault_service.services.log_guard import LogGuard
from vault_service.services.possession import Possession
from vault_service.services.reveal.checks import Checks
from vault_service.services.reveal.data_keys import DataKeys
from vault_service.services.reveal.opening import Opening
from vault_service.services.reveal.use_case import Reveal
from vault_service.services.reveal.uses import Uses
from vault_service.services.token_keys import TokenKeys
from vault_service.services.unusual import REFUSED_REVEALS, Unusual
from vault_service.settings import Settings


def use_cases(
    parts: Connections, audit: Callable[..., Audit], policy: Policy, settings: Settings
) -> dict[str, object]:
    """Fields of `process.Services`, by name."""
    uow = parts.database("reveal")
    told = audit(uow=uow)
    signing = SigningKey(parts.transit("sign-token"))
    keys = TokenKeys(signing)
    issuer = issuer_of(settings)
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
            checks=Checks(
                uow=uow,
                verifier=TokenVerifier(keys),
                proofs=proofs,
                issuer=issuer,
                audience=settings.audience,
            ),
            keys=DataKeys(uow=uow, unwrapping=Unwrapper(parts.transit("reveal"))),
            uses=Uses(
                uow=uow,
                audit=told,
                alarms=alarms,
                budgets=Budgets(policy=policy, alarms=alarms),
            ),
            opening=Opening(uow=uow, alarms=alarms),
            audit=told,
            guard=LogGuard(uow, stop_after=settings.ledger_stop_seconds),
            honeytokens=honeytoken_guard(uow, parts.transit("reveal"), told),
            refused=Unusual(REFUSED_REVEALS, limit=settings.alarm_refused_reveals, alarms=alarms),
        ),
    }
