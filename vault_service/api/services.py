"""Calls on what customers have chosen: which service, since when, until when."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.errors import ItemError, item_error
from vault_service.api.schemas import MAX_BATCH, Accepted, Answered
from vault_service.api.tokens import IDEMPOTENCY, idempotency_key
from vault_service.domain.actors import Action
from vault_service.errors import InvalidInput, ServiceError
from vault_service.services.service_choices import ChoiceDraft
from vault_service.services.views import TokenView
from vault_service.settings import ProcessRole
from vault_service.web import shapes
from vault_service.web.served import present

GROUP: Final = Group("account data", ProcessRole.INGEST)

Code = Annotated[
    str, Meta(description="The service's own code, one word such as `hosting.basic`; it is shown.")
]
Day = Annotated[str, Meta(extra_json_schema={"format": "date"})]


class ServiceIn(Accepted, frozen=True):
    """A choice of service."""

    service: Code
    since: Day
    until: Annotated[Day, Meta(description="The first day without it.")] | None = None
    details: Annotated[str, Meta(description="What was agreed; sealed, never shown.")] | None = None
    reference: Annotated[str, Meta(description="Your own name for it, echoed.")] | None = None


class ServiceBatchIn(Accepted, frozen=True):
    """Choices; each is kept or refused alone."""

    items: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MAX_BATCH,
            extra_json_schema={"items": {"$ref": "#/components/schemas/ServiceIn"}},
        ),
    ]


class ServiceResult(Answered, frozen=True, omit_defaults=True):
    """One choice's outcome: its token, or an error."""

    token: str | UnsetType = UNSET
    created: bool | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class ServiceBatchOut(Answered, frozen=True):
    """One result for each item, in order."""

    results: list[ServiceResult]


class ServiceOut(Answered, frozen=True):
    """A choice, masked; of several of one service and first day the last one told counts."""

    token: str
    service: str
    since: date
    until: date | None
    current: bool
    superseded: bool
    recorded_at: datetime
    reference: str | None


class ServiceHistoryOut(Answered, frozen=True):
    """A customer's choices, by first day; with `truncated` there are more than are shown."""

    items: list[ServiceOut]
    truncated: bool


@GROUP.call(
    "POST",
    "/v1/customers/{customer}/services",
    "Keep a customer's choices of services; each succeeds or fails alone.",
    action=Action.RECORD_ACCOUNT_DATA,
    body=ServiceBatchIn,
    answers={200: ServiceBatchOut},
    headers=(IDEMPOTENCY,),
    example={"items": [{"service": "hosting.basic", "since": "2026-01-01"}]},
    codes=(
        "batch_size",
        "service_code_invalid",
        "date_invalid",
        "period_invalid",
        "customer_not_found",
        "idempotency_key_reused",
        "idempotency_in_progress",
    ),
)
def record_services(call: Call[ServiceBatchIn, None]) -> Answer:
    """Keep choices of services."""
    results: dict[int, ServiceResult] = {}
    drafts: dict[int, ChoiceDraft] = {}
    for place, raw in enumerate(call.body.items):
        try:
            item = shapes.convert(raw, ServiceIn, pointer=f"/items/{place}")
        except InvalidInput as error:
            results[place] = ServiceResult(error=item_error(error))
            continue
        value = {"service": item.service, "since": item.since, "until": item.until}
        drafts[place] = ChoiceDraft(
            value=value if item.details is None else value | {"details": item.details},
            reference=item.reference,
        )
    headers = {}
    try:
        answer = present(call.served.services).record(
            call.caller,
            call.path["customer"],
            list(drafts.values()),
            idempotency_key=idempotency_key(call.request),
            body=call.raw,
        )
    except InvalidInput:
        # Without one well-formed item there is nothing to do; whether the caller may has been
        # asked by now.
        if drafts:
            raise
    else:
        headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
        for slot, (place, result) in enumerate(zip(drafts, answer.results, strict=True)):
            results[place] = _result(result, slot, place)
    return Answer(
        body=ServiceBatchOut(results=[results[place] for place in sorted(results)]),
        headers=headers,
    )


def _result(result: TokenView | ServiceError, slot: int, place: int) -> ServiceResult:
    if isinstance(result, TokenView):
        return ServiceResult(token=result.id, created=not result.deduplicated)
    if result.pointer is not None:
        # What the use case calls an item's value is the item itself here.
        rest = result.pointer.removeprefix(f"/items/{slot}")
        result.pointer = f"/items/{place}{rest.removeprefix('/value')}"
    return ServiceResult(error=item_error(result))


@GROUP.call(
    "GET",
    "/v1/customers/{customer}/services",
    "List a customer's choices of services, masked, with those that a later one replaced.",
    action=Action.READ_ACCOUNT_DATA,
    answers={200: ServiceHistoryOut},
    codes=("customer_not_found",),
)
def list_services(call: Call[None, None]) -> Answer:
    """List a customer's choices of services."""
    history = present(call.served.services).history(call.caller, call.path["customer"])
    return Answer(
        body=ServiceHistoryOut(
            items=[
                ServiceOut(
                    token=each.token.id,
                    service=each.service,
                    since=each.since,
                    until=each.until,
                    current=each.current,
                    superseded=each.superseded,
                    recorded_at=each.token.created_at,
                    reference=each.token.reference,
                )
                for each in history.items
            ],
            truncated=history.truncated,
        )
    )
