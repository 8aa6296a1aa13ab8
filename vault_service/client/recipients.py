"""Calls on recipients: who may be handed data, on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class Recipients:
    """`/v1/recipients`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        kind: str,
        name: str,
        verified: str,
        contact: str,
        public_key: Mapping[str, Any] | None = None,
    ) -> models.RecipientRecord:
        """Put a recipient on record. Not repeated by itself."""
        body: dict[str, Any] = {
            "kind": kind,
            "name": name,
            "verified": verified,
            "contact": contact,
        }
        if public_key is not None:
            body["public_key"] = dict(public_key)
        reply = self._transport.send(Ask(method="POST", path="/v1/recipients", body=body))
        made: models.RecipientRecord = decode(reply, models.RecipientRecord)
        return made

    def get(self, recipient: str) -> models.RecipientRecord:
        """One recipient with name, verification and contact."""
        path = f"/v1/recipients/{segment(recipient)}"
        reply = self._transport.send(Ask(method="GET", path=path, repeatable=True))
        found: models.RecipientRecord = decode(reply, models.RecipientRecord)
        return found

    def page(self, *, cursor: str | None = None, limit: int = 100) -> models.RecipientPage:
        """One page of recipients, without their texts."""
        query = {"cursor": cursor, "limit": limit}
        reply = self._transport.send(
            Ask(method="GET", path="/v1/recipients", query=query, repeatable=True)
        )
        page: models.RecipientPage = decode(reply, models.RecipientPage)
        return page

    def list(self) -> Iterator[models.RecipientRecord]:
        """Every recipient, page by page, without their texts."""
        cursor: str | None = None
        while True:
            page = self.page(cursor=cursor)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next
