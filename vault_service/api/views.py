"""From what the use cases answer to what the interface sends."""

from __future__ import annotations

from collections.abc import Sequence

from vault_service.api import schemas
from vault_service.api.errors import item_error
from vault_service.domain.instruments import Instrument
from vault_service.domain.policy import Decision
from vault_service.errors import ServiceError
from vault_service.services.views import (
    DisclosureView,
    IssuedKey,
    PrincipalView,
    Revealed,
    TokenView,
)


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def token(view: TokenView) -> schemas.TokenOut:
    """A token and its mask."""
    return schemas.TokenOut(
        id=view.id,
        data_class=view.data_class,
        customer=view.customer,
        mask=dict(view.mask),
        format=view.format,
        version=view.version,
        deduplicated=view.deduplicated,
        created_at=view.created_at,
        expires_at=view.expires_at,
        reference=view.reference,
        metadata=None if view.metadata is None else dict(view.metadata),
    )


def token_result(result: TokenView | ServiceError, reference: str | None) -> schemas.TokenResult:
    """One item's outcome, with the reference that its sender gave it."""
    if isinstance(result, Exception):
        return schemas.TokenResult(error=item_error(result), reference=reference)
    return schemas.TokenResult(token=token(result), reference=reference)


def disclosure(view: DisclosureView) -> schemas.DisclosureOut:
    """A disclosure request or grant."""
    return schemas.DisclosureOut(
        id=view.id,
        state=view.state,
        requester=view.requester,
        ground=view.ground,
        category=view.category,
        clause=view.clause,
        policy=view.policy,
        recipient=schemas.RecipientOut(
            kind=view.recipient_kind,
            name=view.recipient_name,
            id=view.recipient,
            thumbprint=view.recipient_key,
        ),
        delivery=view.delivery,
        proof_of_possession=view.proof_of_possession,
        evidence=None if view.evidence is None else dict(view.evidence),
        tokens=_list(view.tokens),
        customer=view.customer,
        classes=_list(view.classes),
        fields=_list(view.fields),
        uses=view.uses,
        uses_left=view.uses_left,
        approvals_needed=view.approvals_needed,
        determination_needed=view.determination_needed,
        created_at=view.created_at,
        submitted_at=view.submitted_at,
        activated_at=view.activated_at,
        expires_at=view.expires_at,
        ended_at=view.ended_at,
        decisions=[
            schemas.DecisionOut(
                kind=one.kind, principal=one.principal, at=one.at, comment=one.comment
            )
            for one in view.decisions
        ],
        amends=view.amends,
        instrument=None if view.instrument is None else _instrument(view.instrument),
    )


def _instrument(said: Instrument) -> schemas.InstrumentOut:
    return schemas.InstrumentOut(
        tokens=_list(said.tokens),
        customer=said.customer,
        classes=list(said.classes),
        begins=said.begins,
        ends=said.ends,
    )


def explanation(decision: Decision) -> schemas.ExplanationOut:
    """What the policy says of a request."""
    return schemas.ExplanationOut(
        allowed=decision.allowed,
        clause=decision.clause,
        missing=[
            schemas.ReasonOut(
                code=one.code,
                pointer=one.pointer,
                detail=one.detail,
                clause=one.clause,
                stage=one.stage,
            )
            for one in decision.missing
        ],
    )


def principal(view: PrincipalView) -> schemas.PrincipalOut:
    """A principal with its keys."""
    return schemas.PrincipalOut(
        id=view.id,
        name=view.name,
        roles=list(view.roles),
        state=view.state,
        created_at=view.created_at,
        keys=[
            schemas.KeyOut(
                id=key.id,
                state=key.state,
                created_by=key.created_by,
                confirmed_by=key.confirmed_by,
                created_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
                last_used_at=key.last_used_at,
            )
            for key in view.keys
        ],
    )


def issued_key(issued: IssuedKey) -> schemas.IssuedKeyOut:
    """A new API key, shown this once."""
    return schemas.IssuedKeyOut(
        id=issued.id, state=issued.state, key=issued.key, principal=principal(issued.principal)
    )


def revealed(result: Revealed | ServiceError, asked: str) -> schemas.RevealResult:
    """One value, or why there is none."""
    if isinstance(result, Exception):
        return schemas.RevealResult(id=asked, error=item_error(result))
    return schemas.RevealResult(id=result.id, data_class=result.data_class, value=result.value)
