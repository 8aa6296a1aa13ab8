"""Calls that account for disclosures: to a customer, and to the public."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Answered, PageQuery
from vault_service.domain.actors import Action
from vault_service.services.accounting import Disclosed
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("accounting", ProcessRole.CONSOLE)


class DisclosedValueOut(Answered, frozen=True, rename={"data_class": "class"}):
    """One value that was disclosed, by its mask; never the value."""

    token: str
    data_class: str
    fields: list[str]
    mask: Annotated[
        dict[str, Any] | None, Meta(description="None where the record is no longer there.")
    ]


class DisclosedOut(Answered, frozen=True):
    """One reveal, as far as it is about this customer."""

    entry: Annotated[str, Meta(description="The ledger entry that proves it.")]
    at: datetime
    disclosure: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    values: list[DisclosedValueOut]
    withheld: Annotated[
        bool, Meta(description="The customer may not be told yet. Only officers see such items.")
    ]
    told_after: Annotated[
        datetime | None, Meta(description="Until when it is withheld; else until the grant ends.")
    ]


class DisclosedPageOut(Answered, frozen=True):
    """What was disclosed of a customer, newest first."""

    items: list[DisclosedOut]
    next: str | None


@GROUP.call(
    "GET",
    "/v1/customers/{customer}/disclosures",
    "What was disclosed of a customer, to which kind of recipient, on which ground, when.",
    action=Action.READ_CUSTOMER_DISCLOSURES,
    query=PageQuery,
    answers={200: DisclosedPageOut},
    codes=("customer_not_found", "cursor_invalid"),
)
def list_customer_disclosures(call: Call[None, PageQuery]) -> Answer:
    """Account for disclosures."""
    found = present(call.served.accounting).page(
        call.caller, call.path["customer"], cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(
        body=DisclosedPageOut(items=[_disclosed(each) for each in found.items], next=found.next)
    )


def _disclosed(each: Disclosed) -> DisclosedOut:
    return DisclosedOut(
        entry=each.entry,
        at=each.at,
        disclosure=each.disclosure,
        ground=each.ground,
        category=each.category,
        clause=each.clause,
        policy=each.policy,
        recipient_kind=each.recipient_kind,
        values=[
            DisclosedValueOut(
                token=value.token,
                data_class=value.data_class,
                fields=list(value.fields),
                mask=value.mask,
            )
            for value in each.values
        ],
        withheld=each.withheld,
        told_after=each.told_after,
    )
