"""Calls on legal holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class Hold(models.Answer, frozen=True, kw_only=True):
    """A legal hold; the texts stand only where one was asked for."""

    id: str
    state: str
    customer: str
    tokens: tuple[str, ...] | None = None
    placed_by: str
    placed_at: datetime
    until: datetime | None = None
    released_by: str | None = None
    released_at: datetime | None = None
    reason: str | None = None
    reference: str | None = None
    release_reason: str | None = None


class HoldPage(models.Answer, frozen=True, kw_only=True):
    """Holds, and the cursor of the next page."""

    items: list[Hold]
    next: str | None = None


class Holds:
    """`/v1/holds`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def place(
        self,
        customer: str,
        *,
        reason: str,
        reference: str,
        tokens: Sequence[str] | None = None,
        until: datetime | None = None,
    ) -> Hold:
        """Keep a customer's records, or some of them, from being erased. Not repeated by itself."""
        body: dict[str, Any] = {"customer": customer, "reason": reason, "reference": reference}
        if tokens is not None:
            body["tokens"] = list(tokens)
        if until is not None:
            body["until"] = until.isoformat()
        reply = self._transport.send(Ask(method="POST", path="/v1/holds", body=body))
        placed: Hold = decode(reply, Hold)
        return placed

    def release(self, hold: str, reason: str) -> Hold:
        """Lift a hold that another officer placed."""
        path = f"/v1/holds/{segment(hold)}/release"
        reply = self._transport.send(Ask(method="POST", path=path, body={"reason": reason}))
        released: Hold = decode(reply, Hold)
        return released

    def get(self, hold: str) -> Hold:
        """One hold with its reason and reference."""
        ask = Ask(method="GET", path=f"/v1/holds/{segment(hold)}", repeatable=True)
        found: Hold = decode(self._transport.send(ask), Hold)
        return found

    def page(
        self, *, customer: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> HoldPage:
        """One page of holds, without their texts."""
        query = {"customer": customer, "cursor": cursor, "limit": limit}
        ask = Ask(method="GET", path="/v1/holds", query=query, repeatable=True)
        page: HoldPage = decode(self._transport.send(ask), HoldPage)
        return page

    def list(self, *, customer: str | None = None) -> Iterator[Hold]:
        """All holds, fetched as they are taken."""
        cursor: str | None = None
        while True:
            page = self.page(customer=customer, cursor=cursor)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next
