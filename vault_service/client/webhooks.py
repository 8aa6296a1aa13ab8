"""Calls on webhooks: deliveries of messages to the company's own systems."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class Delivery(models.Answer, frozen=True, kw_only=True):
    """A message on its way to one endpoint."""

    message: str
    type: str
    endpoint: str
    state: str
    attempts: int
    last_status: int | None = None
    last_error: str | None = None
    created_at: datetime
    next_at: datetime
    ended_at: datetime | None = None


class _Page(models.Answer, frozen=True, kw_only=True):
    items: list[Delivery]
    next: str | None = None


class _Retried(models.Answer, frozen=True, kw_only=True):
    count: int


class _Sent(models.Answer, frozen=True, kw_only=True):
    message: str


class Webhooks:
    """`/v1/webhooks`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, state: str | None = None) -> Iterator[Delivery]:
        """Deliveries, newest message first."""
        cursor: str | None = None
        while True:
            query = {"state": state, "cursor": cursor}
            reply = self._transport.send(
                Ask(method="GET", path="/v1/webhooks", query=query, repeatable=True)
            )
            page: _Page = decode(reply, _Page)
            yield from page.items
            if page.next is None:
                return
            cursor = page.next

    def retry(self, message: str) -> int:
        """Try the dead deliveries of a message anew; how many there were."""
        path = f"/v1/webhooks/{segment(message)}/retry"
        retried: _Retried = decode(self._transport.send(Ask(method="POST", path=path)), _Retried)
        return retried.count

    def test(self) -> str:
        """Send a message to test with; its id."""
        sent: _Sent = decode(
            self._transport.send(Ask(method="POST", path="/v1/webhooks/test")), _Sent
        )
        return sent.message
