"""Calls that account for disclosures. Nothing here holds a value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from vault_service.client.models import Answer
from vault_service.client.transport import Ask, Transport, decode, segment


class DisclosedValue(Answer, frozen=True, kw_only=True, rename={"data_class": "class"}):
    """One value that was disclosed, by its mask."""

    token: str
    data_class: str
    fields: list[str]
    mask: dict[str, Any] | None = None


class Disclosed(Answer, frozen=True, kw_only=True):
    """One reveal, as far as it is about one customer; `withheld` is not to be told him yet."""

    entry: str
    at: datetime
    disclosure: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    values: list[DisclosedValue]
    withheld: bool
    told_after: datetime | None = None


class DisclosedPage(Answer, frozen=True, kw_only=True):
    """Reveals, newest first, and the cursor of the next page."""

    items: list[Disclosed]
    next: str | None = None


class TransparencyRow(Answer, frozen=True, kw_only=True, rename={"data_class": "class"}):
    """One row of the transparency report; a count that is None is hidden."""

    level: str
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


class TransparencyReport(Answer, frozen=True, kw_only=True):
    """The transparency report of a year; `threshold` is the smallest count that is not small."""

    year: int
    threshold: int
    rows: list[TransparencyRow]


class Accounting:
    """What was disclosed, to whom it may be told."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def page(self, customer: str, *, cursor: str | None = None, limit: int = 100) -> DisclosedPage:
        """One page of what was disclosed of a customer, newest first."""
        query = {"cursor": cursor, "limit": limit}
        path = f"/v1/customers/{segment(customer)}/disclosures"
        reply = self._transport.send(Ask(method="GET", path=path, query=query, repeatable=True))
        page: DisclosedPage = decode(reply, DisclosedPage)
        return page

    def list(self, customer: str) -> Iterator[Disclosed]:
        """All that was disclosed of a customer, fetched page by page as it is taken."""
        cursor: str | None = None
        while True:
            page = self.page(customer, cursor=cursor)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next

    def notice(self, customer: str, *, form: str = "txt") -> str:
        """A notice to a customer of what he may be told; `form` is `txt` or `html`, to print."""
        path = f"/v1/customers/{segment(customer)}/disclosures/notice.{form}"
        ask = Ask(method="GET", path=path, headers={"Accept": "*/*"}, repeatable=True)
        return self._transport.send(ask).data.decode()

    def transparency(self, year: int) -> TransparencyReport:
        """The transparency report of a year that is over."""
        ask = Ask(
            method="GET", path="/v1/reports/transparency", query={"year": year}, repeatable=True
        )
        report: TransparencyReport = decode(self._transport.send(ask), TransparencyReport)
        return report
