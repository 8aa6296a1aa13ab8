"""Calls that account for disclosures: to a customer, and to the public."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from vault_service.api import notice_page
from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered, PageQuery
from vault_service.domain.actors import Action
from vault_service.services.accounting import Disclosed
from vault_service.services.transparency import TransparencyRow
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


class TransparencyQuery(Accepted, frozen=True):
    """Which report."""

    year: Annotated[int, Meta(description="A calendar year (UTC) that is over.")]


class TransparencyRowOut(Answered, frozen=True, rename={"data_class": "class"}):
    """One row of the report; a count that is null is hidden."""

    level: Annotated[str, Meta(description="total, category, ground, recipient or class.")]
    category: str | None
    ground: str | None
    clause: str | None
    recipient_kind: str | None
    data_class: str | None
    requests: int | None
    denied: int | None
    granted: int | None
    reveals: int | None
    values: int | None


class TransparencyOut(Answered, frozen=True):
    """The transparency report of a year. Rows below a ground stand where they show a number."""

    year: int
    threshold: Annotated[int, Meta(description="The smallest count that is not small.")]
    rows: list[TransparencyRowOut]


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


@GROUP.call(
    "GET",
    "/v1/customers/{customer}/disclosures/notice.html",
    "A notice to a customer of what may be told, as a page to print.",
    action=Action.READ_CUSTOMER_DISCLOSURES,
    answers={200: None},
    media="text/html; charset=utf-8",
    codes=("customer_not_found",),
)
def read_customer_notice_page(call: Call[None, None]) -> Answer:
    """Answer with the notice as a page."""
    notice = present(call.served.notices).make(call.caller, call.path["customer"])
    return Answer(
        data=notice_page.html(notice), headers={"Content-Security-Policy": notice_page.POLICY}
    )


@GROUP.call(
    "GET",
    "/v1/customers/{customer}/disclosures/notice.txt",
    "A notice to a customer of what may be told, as plain text.",
    action=Action.READ_CUSTOMER_DISCLOSURES,
    answers={200: None},
    media="text/plain; charset=utf-8",
    codes=("customer_not_found",),
)
def read_customer_notice(call: Call[None, None]) -> Answer:
    """Answer with the notice as text."""
    notice = present(call.served.notices).make(call.caller, call.path["customer"])
    return Answer(data=notice_page.text(notice))


@GROUP.call(
    "GET",
    "/v1/reports/transparency",
    "The transparency report of a year that is over, small counts hidden.",
    action=Action.READ_TRANSPARENCY,
    query=TransparencyQuery,
    answers={200: TransparencyOut},
    codes=("year_invalid", "year_not_over"),
)
def read_transparency_report(call: Call[None, TransparencyQuery]) -> Answer:
    """Answer with the report."""
    report = present(call.served.transparency).report(call.caller, call.query.year)
    return Answer(
        body=TransparencyOut(
            year=report.year,
            threshold=report.threshold,
            rows=[_row(each) for each in report.rows],
        )
    )


def _row(each: TransparencyRow) -> TransparencyRowOut:
    category, ground, recipient, data_class = (
        each.path[place] if place < len(each.path) else None for place in range(4)
    )
    return TransparencyRowOut(
        level=each.level,
        category=category,
        ground=ground,
        clause=each.clause,
        recipient_kind=recipient,
        data_class=data_class,
        **each.counts,
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
