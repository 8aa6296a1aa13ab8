"""Calls on messages of people whom nobody knows: listed, and given to the customer who wrote."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from vault_service.api import modifications, views
from vault_service.api.calls import Answer, Call, Group
from vault_service.api.modifications import ModificationOut
from vault_service.api.schemas import Accepted, Answered, CustomerId, TokenOut
from vault_service.api.tokens import EXAMPLE_CUSTOMER
from vault_service.domain.actors import Action
from vault_service.domain.modifications import Unassigned
from vault_service.services.unassigned import MAX_PAGE
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("communications", ProcessRole.INGEST)


class UnassignedQuery(Accepted, frozen=True):
    """Which page."""

    cursor: (
        Annotated[str, Meta(description="`next` of the page before.", max_length=128)] | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE


class UnassignedOut(Answered, frozen=True):
    """A message that waits for its customer; the change `modification` waits with it."""

    modification: str
    why: Annotated[str, Meta(extra_json_schema={"enum": [str(each) for each in Unassigned]})]
    received_at: datetime
    expires_at: datetime
    communication: TokenOut


class UnassignedPageOut(Answered, frozen=True):
    """Messages, oldest first."""

    items: list[UnassignedOut]
    next: str | None


class AssignmentIn(Accepted, frozen=True):
    """Whose it was."""

    customer: CustomerId


@GROUP.call(
    "GET",
    "/v1/communications/unassigned",
    "List messages to the mail intake that nobody's address matched, oldest first, masked.",
    action=Action.READ_MODIFICATIONS,
    query=UnassignedQuery,
    answers={200: UnassignedPageOut},
    codes=("cursor_invalid",),
)
def list_unassigned(call: Call[None, UnassignedQuery]) -> Answer:
    """List messages that wait for their customer."""
    page = present(call.served.unassigned).page(
        call.caller, cursor=call.query.cursor, limit=call.query.limit
    )
    items = [
        UnassignedOut(
            modification=each.modification,
            why=each.why,
            received_at=each.received_at,
            expires_at=each.expires_at,
            communication=views.token(each.message),
        )
        for each in page.items
    ]
    return Answer(body=UnassignedPageOut(items=items, next=page.next))


@GROUP.call(
    "POST",
    "/v1/modifications/{modification}/assign",
    "Say whose a message was: a change is opened for that customer, and this one has ended.",
    action=Action.DECIDE_MODIFICATION,
    body=AssignmentIn,
    answers={201: ModificationOut, 200: ModificationOut},
    example={"customer": EXAMPLE_CUSTOMER},
    codes=(
        "modification_not_found",
        "modification_ended",
        "modification_has_customer",
        "modification_has_value",
        "customer_not_found",
        "customer_unchanged",
    ),
)
def assign_modification(call: Call[AssignmentIn, None]) -> Answer:
    """Give a message to its customer; 200 when the same change is pending for him."""
    view = present(call.served.unassigned).assign(
        call.caller, call.path["modification"], call.body.customer
    )
    return Answer(body=modifications.out(view), status=201 if view.created else 200)
