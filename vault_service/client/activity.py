"""Calls on the activity log."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from vault_service.client import models
from vault_service.client.tokens import IDEMPOTENCY_HEADER
from vault_service.client.transport import Ask, Transport, decode, segment


class ActivityEntry(models.Answer, frozen=True, kw_only=True):
    """An entry, masked; `segment` is what a disclosure can name."""

    at: datetime
    kind: str
    segment: str


class ActivityPage(models.Answer, frozen=True, kw_only=True):
    """Entries in the order of their times, and the cursor of the next page."""

    items: list[ActivityEntry]
    next: str | None = None


class RefusedEntry(models.Answer, frozen=True, kw_only=True):
    """An entry that is not kept, by its place."""

    place: int
    error: models.ItemError


class RecordedEntries(models.Answer, frozen=True, kw_only=True):
    """What became of entries."""

    recorded: int
    segments: list[str]
    refused: list[RefusedEntry]


class Activity:
    """`/v1/customers/{id}/activity` and `/v1/activity`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def record(
        self,
        customer: str,
        entries: Sequence[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
    ) -> RecordedEntries:
        """Add up to 1,000 entries of one customer, each `{"at", "kind", "details"?}`."""
        return self._send(_path(customer), entries, idempotency_key)

    def load(
        self, entries: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> RecordedEntries:
        """Add up to 10,000 entries of many customers, each with its `customer`."""
        return self._send("/v1/activity", entries, idempotency_key)

    def list(
        self, customer: str, *, begin: datetime | None = None, end: datetime | None = None
    ) -> Iterator[ActivityEntry]:
        """A customer's entries of a time, fetched as they are taken."""
        cursor: str | None = None
        while True:
            query = {
                "from": None if begin is None else begin.isoformat(),
                "to": None if end is None else end.isoformat(),
                "cursor": cursor,
                "limit": 1000,
            }
            ask = Ask(method="GET", path=_path(customer), query=query, repeatable=True)
            page: ActivityPage = decode(self._transport.send(ask), ActivityPage)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next

    def _send(
        self, path: str, entries: Sequence[Mapping[str, Any]], key: str | None
    ) -> RecordedEntries:
        ask = Ask(
            method="POST",
            path=path,
            body={"items": list(entries)},
            headers={IDEMPOTENCY_HEADER: key or secrets.token_urlsafe(24)},
            repeatable=True,
        )
        found: RecordedEntries = decode(self._transport.send(ask), RecordedEntries)
        return found


def _path(customer: str) -> str:
    return f"/v1/customers/{segment(customer)}/activity"
