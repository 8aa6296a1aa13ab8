"""Calls on access reviews."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class AccessReviewItem(models.Answer, frozen=True, kw_only=True):
    """A principal under review."""

    principal: str
    name: str
    roles: list[str]
    keys: int
    last_used_at: datetime | None = None
    reviewed_until: datetime
    decision: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None


class AccessReview(models.Answer, frozen=True, kw_only=True):
    """An access review; its items stand only where one was asked for."""

    id: str
    opened_at: datetime
    due: datetime
    completed_at: datetime | None = None
    overdue: bool = False
    items: list[AccessReviewItem]


class _Reviews(models.Answer, frozen=True, kw_only=True):
    items: list[AccessReview]


class AccessReviews:
    """`/v1/access-reviews`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self) -> list[AccessReview]:
        """The newest reviews, without their items."""
        ask = Ask(method="GET", path="/v1/access-reviews", repeatable=True)
        found: _Reviews = decode(self._transport.send(ask), _Reviews)
        return found.items

    def get(self, review: str) -> AccessReview:
        """One review with everybody in it."""
        path = f"/v1/access-reviews/{segment(review)}"
        ask = Ask(method="GET", path=path, repeatable=True)
        found: AccessReview = decode(self._transport.send(ask), AccessReview)
        return found

    def decide(self, review: str, keep: Mapping[str, bool]) -> AccessReview:
        """Keep principals (true) or remove them (false): all of the call or nothing."""
        body = {"decisions": [{"principal": who, "keep": kept} for who, kept in keep.items()]}
        path = f"/v1/access-reviews/{segment(review)}/decisions"
        ask = Ask(method="POST", path=path, body=body)
        decided: AccessReview = decode(self._transport.send(ask), AccessReview)
        return decided
