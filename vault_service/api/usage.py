"""Calls that tell how the company's website is used, in numbers that tell of nobody."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final

from msgspec import Meta

from vault_service.api import usage_page
from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered
from vault_service.domain.actors import Action
from vault_service.domain.usage import LEAST, told
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("usage", ProcessRole.CONSOLE)

_COUNT: Final = f"Rounded down to tens; `<{LEAST}` below that."


class UsageQuery(Accepted, frozen=True, rename={"since": "from", "until": "to"}):
    """A period of at most 31 days."""

    since: Annotated[date | None, Meta(description="First day (UTC); 31 days before the last.")] = (
        None
    )
    until: Annotated[date | None, Meta(description="Last day (UTC); today.")] = None


class UsageRowOut(Answered, frozen=True):
    """The counts of one place of one day; `*` stands for all pages or domains."""

    day: date
    page: str
    referrer: Annotated[
        str, Meta(description="A domain, or `none`, `internal`, `other`, or `*` for all.")
    ]
    views: Annotated[int | str, Meta(description=_COUNT)]
    visitors: Annotated[int | str, Meta(description=_COUNT)]


class UsageOut(Answered, frozen=True, rename={"since": "from", "until": "to"}):
    """Usage by day, page and referrer's domain, the newest day first."""

    since: date
    until: date
    least: Annotated[int, Meta(description="The smallest count that is told.")]
    rows: list[UsageRowOut]


@GROUP.call(
    "GET",
    "/v1/usage",
    "Page views and visitors of the company's website by day, page and referrer's domain.",
    action=Action.READ_USAGE,
    query=UsageQuery,
    answers={200: UsageOut},
    codes=("usage_period_invalid",),
)
def read_usage(call: Call[None, UsageQuery]) -> Answer:
    """Answer with the counts."""
    return Answer(body=_found(call))


@GROUP.call(
    "GET",
    "/v1/usage/chart.html",
    "The same as a page with a chart.",
    action=Action.READ_USAGE,
    query=UsageQuery,
    answers={200: None},
    media="text/html; charset=utf-8",
    codes=("usage_period_invalid",),
)
def read_usage_chart(call: Call[None, UsageQuery]) -> Answer:
    """Answer with the page."""
    found = _found(call)
    rows = [(row.day, row.page, row.referrer, row.views, row.visitors) for row in found.rows]
    return Answer(
        data=usage_page.html(found.since, found.until, rows),
        headers={"Content-Security-Policy": usage_page.POLICY},
    )


def _found(call: Call[None, UsageQuery]) -> UsageOut:
    since, until, rows = present(call.served.usage).period(
        call.caller, call.query.since, call.query.until
    )
    return UsageOut(
        since=since,
        until=until,
        least=LEAST,
        rows=[
            UsageRowOut(
                day=row.day,
                page=row.page,
                referrer=row.referrer,
                views=told(row.views),
                visitors=told(row.visitors),
            )
            for row in rows
        ],
    )
