"""Calls on erasures: of a customer, by two officers; of many tokens at once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.errors import ItemError, item_error
from vault_service.api.schemas import MAX_BATCH, Accepted, Answered, PageQuery, TokenId
from vault_service.domain.actors import Action
from vault_service.services.customer_erasure import ErasureView
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("erasures", ProcessRole.CONSOLE)


class ErasureOut(Answered, frozen=True):
    """The erasure of a customer; once it is done, its certificate."""

    customer: str
    state: Annotated[str, Meta(description="requested, running or done.")]
    requested_by: str
    requested_at: datetime
    confirmed_by: str | None
    started_at: datetime | None
    records: Annotated[int, Meta(description="Records destroyed so far.")]
    finished_at: datetime | None
    backup_horizon_days: Annotated[
        int | None, Meta(description="How long backups are kept; 0 where that is not set.")
    ]
    backups_until: Annotated[
        datetime | None, Meta(description="When no backup holds his records any more.")
    ]
    entry: Annotated[str | None, Meta(description="The certificate's entry in the ledger.")]


class ErasurePageOut(Answered, frozen=True):
    """Erasures, asked for, under way and done."""

    items: list[ErasureOut]
    next: str | None


class TokensEraseIn(Accepted, frozen=True):
    """Which records."""

    tokens: Annotated[list[TokenId], Meta(min_length=1, max_length=MAX_BATCH)]


class TokenErased(Answered, frozen=True):
    """What became of one."""

    token: str
    erased: bool
    error: ItemError | None = None


class TokensErasedOut(Answered, frozen=True):
    """What became of each, in order."""

    results: list[TokenErased]


def _erasure(view: ErasureView) -> ErasureOut:
    row = view.row
    return ErasureOut(
        customer=row.customer,
        state=row.state.value,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        confirmed_by=row.confirmed_by,
        started_at=row.started_at,
        records=row.records,
        finished_at=row.finished_at,
        backup_horizon_days=row.backup_horizon_days,
        backups_until=view.backups_until,
        entry=None if row.entry is None else str(row.entry),
    )


@GROUP.call(
    "DELETE",
    "/v1/customers/{customer}",
    "Ask for a customer's erasure, which another officer confirms.",
    action=Action.ERASE_CUSTOMER,
    answers={202: ErasureOut, 200: ErasureOut},
    codes=("customer_not_found",),
)
def erase_customer(call: Call[None, None]) -> Answer:
    """Ask for an erasure; 200 when it was asked for before."""
    view, is_new = present(call.served.erasures).request(call.caller, call.path["customer"])
    return Answer(body=_erasure(view), status=202 if is_new else 200)


@GROUP.call(
    "POST",
    "/v1/customers/{customer}/erasure/confirm",
    "Confirm an erasure that another officer asked for; it begins.",
    action=Action.ERASE_CUSTOMER,
    answers={200: ErasureOut},
    codes=("customer_not_found", "erasure_not_found", "own_erasure", "legal_hold"),
)
def confirm_erasure(call: Call[None, None]) -> Answer:
    """Confirm an erasure."""
    view = present(call.served.erasures).confirm(call.caller, call.path["customer"])
    return Answer(body=_erasure(view))


@GROUP.call(
    "GET",
    "/v1/customers/{customer}/erasure",
    "Read a customer's erasure, and its certificate once it is done.",
    action=Action.READ_ERASURES,
    answers={200: ErasureOut},
    codes=("customer_not_found", "erasure_not_found"),
)
def get_erasure(call: Call[None, None]) -> Answer:
    """Read an erasure."""
    view = present(call.served.erasures).get(call.caller, call.path["customer"])
    return Answer(body=_erasure(view))


@GROUP.call(
    "GET",
    "/v1/erasures",
    "List the erasures of customers.",
    action=Action.READ_ERASURES,
    query=PageQuery,
    answers={200: ErasurePageOut},
    codes=("customer_malformed",),
)
def list_erasures(call: Call[None, PageQuery]) -> Answer:
    """List erasures."""
    found, following = present(call.served.erasures).page(
        call.caller, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(body=ErasurePageOut(items=[_erasure(view) for view in found], next=following))


@GROUP.call(
    "POST",
    "/v1/tokens/erase",
    "Erase up to 1,000 values; each succeeds or fails alone.",
    action=Action.ERASE,
    serves=frozenset((ProcessRole.INGEST,)),
    body=TokensEraseIn,
    answers={200: TokensErasedOut},
    example={"tokens": ["tok_0000000000000000000000000000"]},
    codes=("batch_size",),
)
def erase_tokens(call: Call[TokensEraseIn, None]) -> Answer:
    """Erase values."""
    tokens = call.body.tokens
    found = present(call.served.erasure).erase(call.caller, tokens)
    return Answer(
        body=TokensErasedOut(
            results=[
                TokenErased(
                    token=token,
                    erased=error is None,
                    error=None if error is None else item_error(error),
                )
                for token, error in zip(tokens, found, strict=True)
            ]
        )
    )
