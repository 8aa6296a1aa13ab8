"""Calls on the history of the policy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class Adoption(models.Answer, frozen=True, kw_only=True):
    """A version that came into force; `until` is None for the one that is."""

    number: int
    version: str
    name: str
    adopted_at: datetime
    until: datetime | None = None


class AdoptionPage(models.Answer, frozen=True, kw_only=True):
    """Versions as they came into force, newest first, and the cursor of the next page."""

    items: list[Adoption]
    next: str | None = None


class PolicyText(models.Answer, frozen=True, kw_only=True):
    """A version's file, and when it was in force."""

    version: str
    text: str
    adoptions: list[Adoption]


class Difference(models.Answer, frozen=True, kw_only=True):
    """One difference, in words; `effect` is allowed, forbidden or changed."""

    effect: str
    where: str
    says: str


class Changes(models.Answer, frozen=True, kw_only=True, rename={"old": "from", "new": "to"}):
    """What a version allows and forbids, compared with another."""

    old: str
    new: str
    differences: list[Difference]


class Policies:
    """`/v1/policies`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def page(self, *, cursor: str | None = None, limit: int = 100) -> AdoptionPage:
        """One page of versions as they came into force, newest first."""
        query = {"cursor": cursor, "limit": limit}
        ask = Ask(method="GET", path="/v1/policies", query=query, repeatable=True)
        page: AdoptionPage = decode(self._transport.send(ask), AdoptionPage)
        return page

    def list(self) -> Iterator[Adoption]:
        """All versions, fetched page by page as they are taken."""
        cursor: str | None = None
        while True:
            page = self.page(cursor=cursor)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next

    def get(self, version: str) -> PolicyText:
        """A version's text."""
        ask = Ask(method="GET", path=f"/v1/policies/{segment(version)}", repeatable=True)
        found: PolicyText = decode(self._transport.send(ask), PolicyText)
        return found

    def changes(self, version: str, *, since: str | None = None) -> Changes:
        """What a version allows and forbids, compared with `since` or with the one before it."""
        ask = Ask(
            method="GET",
            path=f"/v1/policies/{segment(version)}/changes",
            query={"from": since},
            repeatable=True,
        )
        found: Changes = decode(self._transport.send(ask), Changes)
        return found
