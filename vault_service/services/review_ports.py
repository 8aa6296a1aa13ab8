"""The repository of access reviews, as the use cases see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow:
    """An access review as stored. `now` is the database's clock at the reading."""

    id: str
    opened_at: datetime
    due: datetime
    overdue_at: datetime | None
    completed_at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewItem:
    """One principal in a review, with what tells whether it needs its rights."""

    principal: str
    name: str
    roles: tuple[str, ...]
    decision: str | None
    decided_by: str | None
    decided_at: datetime | None
    review_due: datetime
    live_keys: int
    last_used_at: datetime | None
    open: bool


class AccessReviews(Protocol):
    """Access reviews of those who may ask for plaintext or approve it."""

    def page(self, limit: int) -> list[ReviewRow]:
        """Reviews, newest first."""
        ...

    def get(self, review: str) -> ReviewRow | None:
        """One review, locked for the rest of the unit of work."""
        ...

    def live(self) -> ReviewRow | None:
        """The review that is open, locked for the rest of the unit of work."""
        ...

    def items(self, review: str) -> list[ReviewItem]:
        """Who is reviewed; `open` are those whom somebody must still decide on."""
        ...

    def next_due(self) -> datetime | None:
        """When the first right ends that is not reviewed; None where nobody has any."""
        ...

    def open(self, review: str) -> ReviewRow | None:
        """Open a review of everybody with such rights; None where one is open already."""
        ...

    def decide(self, review: str, principal: str, decision: str, by: str) -> bool:
        """Keep or remove; False where that was decided, or he is not reviewed."""
        ...

    def renew(self, principal: str) -> None:
        """Let a principal's rights last for another period."""
        ...

    def overdue(self, review: str) -> None:
        """Note that it was told that the review is overdue."""
        ...

    def complete(self, review: str) -> None:
        """Close a review."""
        ...
