"""Calls on customers' changes of their data: asked for, confirmed, applied."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from vault_service.api.calls import Answer, Call, Group, HeaderParameter
from vault_service.api.errors import ItemError, item_error
from vault_service.api.schemas import Accepted, Answered, Class, Cursor, CustomerId, Limit, TokenId
from vault_service.api.schemas import Value as AnyValue
from vault_service.api.tokens import EXAMPLE_CUSTOMER
from vault_service.domain.actors import Action
from vault_service.domain.modifications import Identity, Reason, State
from vault_service.errors import InvalidInput, ServiceError
from vault_service.services.context import Stranger
from vault_service.services.helpdesk import SignedMessage
from vault_service.services.modifications import MAX_ITEMS
from vault_service.services.proposals import ModificationDraft
from vault_service.services.views import ModificationView
from vault_service.settings import ProcessRole
from vault_service.web import bodies, shapes
from vault_service.web.context import current
from vault_service.web.served import present

GROUP: Final = Group("modifications", ProcessRole.INGEST)

_EXAMPLE: Final[dict[str, Any]] = {
    "customer": EXAMPLE_CUSTOMER,
    "ticket": "T-4711",
    "class": "telephone",
    "value": "+49 30 901820",
}
_DRAFTING: Final = (
    "customer_not_found",
    "token_not_found",
    "class_unknown",
    "class_differs",
    "record_ambiguous",
    "modification_incomplete",
    "value_unchanged",
    "rotation_under_way",
    "sensitive_authentication_data",
)
_DECIDING: Final = ("modification_not_found", "modification_ended")


class ModificationIn(Accepted, frozen=True, rename={"data_class": "class"}):
    """A change that a customer asked for; without class and value somebody reads it out later."""

    customer: CustomerId
    ticket: Annotated[str, Meta(description="The helpdesk's reference.")]
    data_class: Class | UnsetType = UNSET
    value: AnyValue | UnsetType = UNSET
    token: (
        Annotated[TokenId, Meta(description="Not needed where the class has one record.")] | None
    ) = None


class ModificationBatchIn(Accepted, frozen=True):
    """Changes; each is opened or refused alone."""

    items: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            extra_json_schema={"items": {"$ref": "#/components/schemas/ModificationIn"}},
        ),
    ]


class ProposalIn(Accepted, frozen=True, rename={"data_class": "class"}):
    """What somebody read out of a message."""

    data_class: Class
    value: AnyValue
    token: TokenId | None = None


class IdentityIn(Accepted, frozen=True):
    """How it was made sure who asks."""

    how: Annotated[str, Meta(extra_json_schema={"enum": [str(each) for each in Identity]})]


class RejectionIn(Accepted, frozen=True):
    """Why it is not done."""

    reason: Annotated[str, Meta(extra_json_schema={"enum": [str(each) for each in Reason]})]


class ModificationOut(Answered, frozen=True, rename={"data_class": "class"}):
    """A change; `present` and `proposed` are masks. `version` is what the record would have.

    `unassigned` says why its message could be matched to no customer.
    """

    id: str
    state: str
    customer: str
    token: str | None
    data_class: str | None
    version: int | None
    present: dict[str, Any] | None
    proposed: dict[str, Any] | None
    source: str
    ticket: str
    unassigned: str | None
    second_person: bool
    opened_by: str
    proposed_by: str | None
    confirmed_by: str | None
    confirmed_how: str | None
    ended_by: str | None
    reason: str | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None


class ModificationResult(Answered, frozen=True, omit_defaults=True):
    """One item's outcome: a change or an error."""

    modification: ModificationOut | UnsetType = UNSET
    created: bool | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class ModificationBatchOut(Answered, frozen=True):
    """One result for each item, in order."""

    results: list[ModificationResult]


class ModificationPageOut(Answered, frozen=True):
    """Changes in the order of their ids."""

    items: list[ModificationOut]
    next: str | None


class ModificationsQuery(Accepted, frozen=True):
    """Whose changes, and which."""

    customer: CustomerId | None = None
    state: (
        Annotated[str, Meta(extra_json_schema={"enum": [str(each) for each in State]})] | None
    ) = None
    cursor: Cursor | None = None
    limit: Limit = 100


def out(view: ModificationView) -> ModificationOut:
    """A change as it is answered."""
    return ModificationOut(
        id=view.id,
        state=view.state,
        customer=view.customer,
        token=view.token,
        data_class=view.data_class,
        version=view.version,
        present=None if view.present is None else dict(view.present),
        proposed=None if view.proposed is None else dict(view.proposed),
        source=view.source,
        ticket=view.ticket,
        unassigned=view.unassigned,
        second_person=view.second_person,
        opened_by=view.opened_by,
        proposed_by=view.proposed_by,
        confirmed_by=view.confirmed_by,
        confirmed_how=view.confirmed_how,
        ended_by=view.ended_by,
        reason=view.reason,
        created_at=view.created_at,
        expires_at=view.expires_at,
        ended_at=view.ended_at,
    )


def _draft(body: ModificationIn) -> ModificationDraft:
    return ModificationDraft(
        customer=body.customer,
        ticket=body.ticket,
        data_class=None if body.data_class is UNSET else body.data_class,
        value=None if body.value is UNSET else body.value,
        token=body.token,
    )


@GROUP.call(
    "POST",
    "/v1/modifications",
    "Ask for a change of a customer's data; the new value is sealed at once.",
    action=Action.REQUEST_MODIFICATION,
    body=ModificationIn,
    answers={201: ModificationOut, 200: ModificationOut},
    example=_EXAMPLE,
    codes=_DRAFTING,
)
def open_modification(call: Call[ModificationIn, None]) -> Answer:
    """Ask for a change; 200 when the same one is pending."""
    (result,) = present(call.served.modifications).open(call.caller, [_draft(call.body)])
    if isinstance(result, Exception):
        raise result
    return Answer(body=out(result), status=201 if result.created else 200)


@GROUP.call(
    "POST",
    "/v1/modifications/batch",
    "Ask for up to 100 changes; each is opened or refused alone.",
    action=Action.REQUEST_MODIFICATION,
    body=ModificationBatchIn,
    answers={200: ModificationBatchOut},
    example={"items": [_EXAMPLE]},
    codes=("batch_size",),
)
def open_modifications(call: Call[ModificationBatchIn, None]) -> Answer:
    """Ask for several changes."""
    results: dict[int, ModificationResult] = {}
    drafts: dict[int, ModificationDraft] = {}
    for place, raw in enumerate(call.body.items):
        try:
            drafts[place] = _draft(shapes.convert(raw, ModificationIn, pointer=f"/items/{place}"))
        except InvalidInput as error:
            results[place] = ModificationResult(error=item_error(error))
    if drafts:
        opened = present(call.served.modifications).open(call.caller, list(drafts.values()))
        for place, result in zip(drafts, opened, strict=True):
            results[place] = _result(result, f"/items/{place}")
    return Answer(body=ModificationBatchOut(results=[results[key] for key in sorted(results)]))


def _result(result: ModificationView | ServiceError, place: str) -> ModificationResult:
    if isinstance(result, ServiceError):
        result.pointer = None if result.pointer is None else place + result.pointer
        return ModificationResult(error=item_error(result))
    return ModificationResult(modification=out(result), created=result.created)


@GROUP.call(
    "GET",
    "/v1/modifications",
    "List changes, of one customer or all, in one state or all.",
    action=Action.READ_MODIFICATIONS,
    query=ModificationsQuery,
    answers={200: ModificationPageOut},
    codes=("cursor_invalid", "state_unknown"),
)
def list_modifications(call: Call[None, ModificationsQuery]) -> Answer:
    """List changes."""
    page = present(call.served.modifications).page(
        call.caller,
        customer=call.query.customer,
        state=call.query.state,
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    return Answer(
        body=ModificationPageOut(items=[out(each) for each in page.items], next=page.next)
    )


@GROUP.call(
    "GET",
    "/v1/modifications/{modification}",
    "Read one change, with the masks of the old and the new value.",
    action=Action.READ_MODIFICATIONS,
    answers={200: ModificationOut},
    codes=("modification_not_found",),
)
def get_modification(call: Call[None, None]) -> Answer:
    """Read one change."""
    view = present(call.served.modifications).get(call.caller, call.path["modification"])
    return Answer(body=out(view))


@GROUP.call(
    "POST",
    "/v1/modifications/{modification}/propose",
    "Give a change the value that was read out of the customer's message.",
    action=Action.REQUEST_MODIFICATION,
    body=ProposalIn,
    answers={200: ModificationOut},
    example={"class": "telephone", "value": "+49 30 901820"},
    codes=(*_DRAFTING, *_DECIDING, "modification_step_done", "modification_pending"),
)
def propose_modification(call: Call[ProposalIn, None]) -> Answer:
    """Give a change its value."""
    view = present(call.served.modifications).propose(
        call.caller,
        call.path["modification"],
        data_class=call.body.data_class,
        value=call.body.value,
        token=call.body.token,
    )
    return Answer(body=out(view))


@GROUP.call(
    "POST",
    "/v1/modifications/{modification}/confirm",
    "Say how it was made sure that the customer himself asks.",
    action=Action.DECIDE_MODIFICATION,
    body=IdentityIn,
    answers={200: ModificationOut},
    example={"how": "called_back"},
    codes=(*_DECIDING, "modification_without_value", "modification_step_done", "identity_unknown"),
)
def confirm_modification(call: Call[IdentityIn, None]) -> Answer:
    """Confirm who asks."""
    view = present(call.served.modifications).confirm(
        call.caller, call.path["modification"], how=call.body.how
    )
    return Answer(body=out(view))


@GROUP.call(
    "POST",
    "/v1/modifications/{modification}/apply",
    "Make the proposed value the record's next version; its token stays.",
    action=Action.DECIDE_MODIFICATION,
    answers={200: ModificationOut},
    codes=(
        *_DECIDING,
        "modification_without_value",
        "identity_not_confirmed",
        "second_person_needed",
        "record_changed",
        "record_ended",
        "legal_hold",
        "value_already_recorded",
        "rotation_under_way",
    ),
)
def apply_modification(call: Call[None, None]) -> Answer:
    """Apply a change."""
    view = present(call.served.modifications).apply(call.caller, call.path["modification"])
    return Answer(body=out(view))


@GROUP.call(
    "POST",
    "/v1/modifications/{modification}/reject",
    "End a change that should not be made; its value is destroyed.",
    action=Action.DECIDE_MODIFICATION,
    body=RejectionIn,
    answers={200: ModificationOut},
    example={"reason": "identity_not_confirmed"},
    codes=(*_DECIDING, "reason_unknown"),
)
def reject_modification(call: Call[RejectionIn, None]) -> Answer:
    """Reject a change."""
    view = present(call.served.modifications).reject(
        call.caller, call.path["modification"], reason=call.body.reason
    )
    return Answer(body=out(view))


@GROUP.call(
    "POST",
    "/v1/modifications/{modification}/withdraw",
    "End a change that the customer took back; its value is destroyed.",
    action=Action.REQUEST_MODIFICATION,
    answers={200: ModificationOut},
    codes=_DECIDING,
)
def withdraw_modification(call: Call[None, None]) -> Answer:
    """Withdraw a change."""
    view = present(call.served.modifications).withdraw(call.caller, call.path["modification"])
    return Answer(body=out(view))


class HelpdeskMessageIn(Struct, frozen=True):
    """What the helpdesk sends: any object; the mapping of the settings says how it is read."""


class ReceivedOut(Answered, frozen=True):
    """The changes that a message opened; none where it came before."""

    modifications: list[str]
    repeated: bool


@GROUP.call(
    "POST",
    "/v1/modifications/inbound",
    "Take a helpdesk's message, signed after the Standard Webhooks specification.",
    body=HelpdeskMessageIn,
    answers={200: ReceivedOut},
    headers=(
        HeaderParameter(name="webhook-id", description="The message's own name.", required=True),
        HeaderParameter(name="webhook-timestamp", description="Seconds since 1970.", required=True),
        HeaderParameter(
            name="webhook-signature",
            description="v1,base64(HMAC-SHA256(secret, id.timestamp.body)); several by spaces.",
            required=True,
        ),
    ),
    example={"ticket": {"id": 4711, "requester": {"email": "ada@example.com"}}},
    codes=(
        "webhook_signature_invalid",
        "webhook_timestamp_invalid",
        "helpdesk_not_connected",
        "helpdesk_message_unmapped",
        "customer_not_found",
        "customer_ambiguous",
        "rotation_under_way",
    ),
    signed=True,
)
def receive_from_helpdesk(call: Call[HelpdeskMessageIn, None]) -> Answer:
    """Take a message; a repeated one opens nothing."""
    context = current()
    received = present(call.served.helpdesk).receive(
        Stranger(request_id=context.id, address=context.address),
        SignedMessage(
            id=call.request.headers.get("webhook-id", ""),
            timestamp=call.request.headers.get("webhook-timestamp", ""),
            signature=call.request.headers.get("webhook-signature", ""),
            raw=call.raw,
            body=bodies.decode(call.raw),
        ),
    )
    return Answer(
        body=ReceivedOut(
            modifications=[view.id for view in received.changes], repeated=received.repeated
        )
    )
