"""Calls on the activity log: entries are added, listed by time and kind, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.errors import ItemError, item_error
from vault_service.api.schemas import Accepted, Answered, Cursor, CustomerId, Time
from vault_service.api.tokens import EXAMPLE_CUSTOMER, IDEMPOTENCY, idempotency_key
from vault_service.domain.activity import Kind
from vault_service.domain.actors import Action
from vault_service.errors import InvalidInput, ServiceError
from vault_service.services.activity import MAX_ITEMS, MAX_LOADED, MAX_PAGE, EntryDraft
from vault_service.settings import ProcessRole
from vault_service.web import shapes
from vault_service.web.served import present

GROUP: Final = Group("account data", ProcessRole.INGEST)

KindName = Annotated[
    str,
    Meta(
        description="From a closed list; it is shown.",
        extra_json_schema={"enum": [str(kind) for kind in Kind]},
    ),
]
Details = Annotated[str, Meta(description="What happened; sealed, never shown.")]
_EXAMPLE: Final[dict[str, Any]] = {
    "at": "2026-11-25T12:00:00Z",
    "kind": "signed_in",
    "details": "from 192.0.2.7",
}
_CODES: Final = (
    "batch_size",
    "activity_time_invalid",
    "activity_kind_unknown",
    "card_number_not_allowed_here",
    "customer_not_found",
    "idempotency_key_reused",
    "idempotency_in_progress",
)


class EntryIn(Accepted, frozen=True):
    """An entry of a customer's log."""

    at: Time
    kind: KindName
    details: Details | None = None


class LoadedEntryIn(Accepted, frozen=True):
    """An entry with the customer whose it is."""

    customer: CustomerId
    at: Time
    kind: KindName
    details: Details | None = None


class ActivityIn(Accepted, frozen=True):
    """Entries of one customer; each is kept or refused alone."""

    items: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            extra_json_schema={"items": {"$ref": "#/components/schemas/EntryIn"}},
        ),
    ]


class ActivityLoadIn(Accepted, frozen=True):
    """Entries of many customers; each is kept or refused alone."""

    items: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MAX_LOADED,
            extra_json_schema={"items": {"$ref": "#/components/schemas/LoadedEntryIn"}},
        ),
    ]


class RefusedOut(Answered, frozen=True):
    """An entry that is not kept: its place in the request, and why."""

    place: int
    error: ItemError


class RecordedOut(Answered, frozen=True):
    """What became of entries; `segments` are what a disclosure can name."""

    recorded: int
    segments: list[str]
    refused: list[RefusedOut]


class ActivityQuery(Accepted, frozen=True, rename={"begin": "from", "end": "to"}):
    """Which entries."""

    begin: Annotated[Time, Meta(description="The earliest; 31 days before `to`.")] | None = None
    end: Annotated[Time, Meta(description="The first that is left out; now.")] | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100


class EntryOut(Answered, frozen=True):
    """An entry, masked; `segment` is what holds its words."""

    at: datetime
    kind: str
    segment: str


class ActivityPageOut(Answered, frozen=True):
    """Entries in the order of their times."""

    items: list[EntryOut]
    next: str | None


@GROUP.call(
    "POST",
    "/v1/customers/{customer}/activity",
    "Add up to 1,000 entries to a customer's log of activity; each succeeds or fails alone.",
    action=Action.RECORD_ACCOUNT_DATA,
    body=ActivityIn,
    answers={200: RecordedOut},
    headers=(IDEMPOTENCY,),
    example={"items": [_EXAMPLE]},
    codes=_CODES,
)
def record_activity(call: Call[ActivityIn, None]) -> Answer:
    """Add entries of one customer."""
    customer = call.path["customer"]
    return _record(
        call,
        customer,
        lambda raw, at: _draft(shapes.convert(raw, EntryIn, pointer=at), customer),
    )


@GROUP.call(
    "POST",
    "/v1/activity",
    "Add up to 10,000 entries of many customers, for loading; each succeeds or fails alone.",
    action=Action.RECORD_ACCOUNT_DATA,
    body=ActivityLoadIn,
    answers={200: RecordedOut},
    headers=(IDEMPOTENCY,),
    example={"items": [{**_EXAMPLE, "customer": EXAMPLE_CUSTOMER}]},
    codes=_CODES,
)
def load_activity(call: Call[ActivityLoadIn, None]) -> Answer:
    """Add entries of many customers."""

    def read(raw: object, at: str) -> EntryDraft:
        item = shapes.convert(raw, LoadedEntryIn, pointer=at)
        return _draft(item, item.customer)

    return _record(call, None, read)


def _draft(item: EntryIn | LoadedEntryIn, customer: str) -> EntryDraft:
    return EntryDraft(customer=customer, at=item.at, kind=item.kind, details=item.details)


def _record(
    call: Call[Any, None], customer: str | None, read: Callable[[object, str], EntryDraft]
) -> Answer:
    refused: dict[int, ServiceError] = {}
    drafts: dict[int, EntryDraft] = {}
    for place, raw in enumerate(call.body.items):
        try:
            drafts[place] = read(raw, f"/items/{place}")
        except InvalidInput as error:
            refused[place] = error
    recorded, segments, headers = 0, list[str](), dict[str, str]()
    try:
        answer = present(call.served.activity).record(
            call.caller,
            list(drafts.values()),
            customer=customer,
            idempotency_key=idempotency_key(call.request),
            body=call.raw,
        )
    except InvalidInput:
        # Without one well-formed item there is nothing to do; whether the caller may has been
        # asked by now.
        if drafts:
            raise
    else:
        recorded, segments = answer.recorded, list(answer.segments)
        headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
        places = list(drafts)
        refused |= {
            places[slot]: _moved(error, slot, places[slot])
            for slot, error in answer.refused.items()
        }
    return Answer(body=_recorded(recorded, segments, refused), headers=headers)


def _recorded(
    recorded: int, segments: list[str], refused: Mapping[int, ServiceError]
) -> RecordedOut:
    return RecordedOut(
        recorded=recorded,
        segments=segments,
        refused=[
            RefusedOut(place=place, error=item_error(error))
            for place, error in sorted(refused.items())
        ],
    )


def _moved(error: ServiceError, slot: int, place: int) -> ServiceError:
    """An entry's error with its pointer moved to where the entry stood in the request."""
    if error.pointer is not None:
        error.pointer = f"/items/{place}{error.pointer.removeprefix(f'/items/{slot}')}"
    return error


@GROUP.call(
    "GET",
    "/v1/customers/{customer}/activity",
    "List a customer's entries of a time, masked: when and of which kind.",
    action=Action.READ_ACCOUNT_DATA,
    query=ActivityQuery,
    answers={200: ActivityPageOut},
    codes=("customer_not_found", "cursor_invalid"),
)
def list_activity(call: Call[None, ActivityQuery]) -> Answer:
    """List a customer's entries."""
    page = present(call.served.activity).page(
        call.caller,
        call.path["customer"],
        begin=call.query.begin,
        end=call.query.end,
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    return Answer(
        body=ActivityPageOut(
            items=[
                EntryOut(at=item.at, kind=str(item.kind), segment=item.segment)
                for item in page.items
            ],
            next=page.next,
        )
    )
