"""Calls on legal holds: what must be kept is not erased."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import (
    MAX_PAGE,
    Accepted,
    Answered,
    Cursor,
    CustomerId,
    Limit,
    Text,
    Time,
    TokenId,
)
from vault_service.domain.actors import Action
from vault_service.services.holds import MAX_TOKENS, HoldDraft, HoldView
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("holds", ProcessRole.CONSOLE)

_EXAMPLE: Final[dict[str, Any]] = {
    "customer": "cus_00000000000000000000000000",
    "reason": "the court asks that nothing be destroyed",
    "reference": "4 O 711/26",
    "until": "2035-12-31T00:00:00Z",
}


class HoldIn(Accepted, frozen=True):
    """A hold; reason and reference are sealed."""

    customer: CustomerId
    reason: Text
    reference: Text
    tokens: (
        Annotated[
            list[TokenId],
            Meta(description="Some of his records; leave out for all.", max_length=MAX_TOKENS),
        ]
        | None
    ) = None
    until: Time | None = None


class HoldReleaseIn(Accepted, frozen=True):
    """Why a hold is released; sealed."""

    reason: Text


class HoldOut(Answered, frozen=True):
    """A hold; the texts stand only where one was asked for."""

    id: str
    state: Annotated[str, Meta(description="standing, ended or released.")]
    customer: str
    tokens: list[str] | None
    placed_by: str
    placed_at: datetime
    until: datetime | None
    released_by: str | None
    released_at: datetime | None
    reason: str | None
    reference: str | None
    release_reason: str | None


class HoldPageOut(Answered, frozen=True):
    """Holds in the order of their names, without their texts."""

    items: list[HoldOut]
    next: str | None


class HoldsQuery(Accepted, frozen=True):
    """Whose holds, and which page."""

    customer: CustomerId | None = None
    cursor: Cursor | None = None
    limit: Limit = MAX_PAGE


def _hold(view: HoldView) -> HoldOut:
    return HoldOut(
        id=view.id,
        state=view.state,
        customer=view.customer,
        tokens=None if view.tokens is None else list(view.tokens),
        placed_by=view.placed_by,
        placed_at=view.placed_at,
        until=view.until,
        released_by=view.released_by,
        released_at=view.released_at,
        reason=view.reason,
        reference=view.reference,
        release_reason=view.release_reason,
    )


@GROUP.call(
    "POST",
    "/v1/holds",
    "Place a legal hold on a customer or on some of his records.",
    action=Action.PLACE_HOLD,
    body=HoldIn,
    answers={201: HoldOut},
    example=_EXAMPLE,
    codes=("customer_not_found", "hold_token_unknown", "expires_at_in_past", "tokens_repeat"),
)
def place_hold(call: Call[HoldIn, None]) -> Answer:
    """Place a hold."""
    body = call.body
    view = present(call.served.holds).place(
        call.caller,
        HoldDraft(
            customer=body.customer,
            tokens=None if body.tokens is None else tuple(body.tokens),
            reason=body.reason,
            reference=body.reference,
            until=body.until,
        ),
    )
    return Answer(body=_hold(view), status=201)


@GROUP.call(
    "GET",
    "/v1/holds",
    "List legal holds without their texts, of one customer or of all.",
    action=Action.READ_HOLDS,
    query=HoldsQuery,
    answers={200: HoldPageOut},
    codes=("cursor_invalid", "customer_malformed"),
)
def list_holds(call: Call[None, HoldsQuery]) -> Answer:
    """List holds."""
    found, following = present(call.served.holds).page(
        call.caller,
        customer=call.query.customer,
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    return Answer(body=HoldPageOut(items=[_hold(view) for view in found], next=following))


@GROUP.call(
    "GET",
    "/v1/holds/{hold}",
    "Read one legal hold with its reason and reference.",
    action=Action.READ_HOLD,
    answers={200: HoldOut},
    codes=("hold_not_found",),
)
def get_hold(call: Call[None, None]) -> Answer:
    """Read one hold."""
    return Answer(body=_hold(present(call.served.holds).get(call.caller, call.path["hold"])))


@GROUP.call(
    "POST",
    "/v1/holds/{hold}/release",
    "Release a legal hold that another officer placed.",
    action=Action.RELEASE_HOLD,
    body=HoldReleaseIn,
    answers={200: HoldOut},
    example={"reason": "the case is closed"},
    codes=("hold_not_found", "hold_released", "own_hold"),
)
def release_hold(call: Call[HoldReleaseIn, None]) -> Answer:
    """Release a hold."""
    view = present(call.served.holds).release(call.caller, call.path["hold"], call.body.reason)
    return Answer(body=_hold(view))
