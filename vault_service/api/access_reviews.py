"""Calls on access reviews: who keeps the rights to ask for plaintext or to approve it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered
from vault_service.domain.actors import Action
from vault_service.services.access_reviews import MAX_ITEMS, ReviewView
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("access reviews", ProcessRole.CONSOLE)

_EXAMPLE: Final[dict[str, Any]] = {
    "decisions": [{"principal": "prn_00000000000000000000000000", "keep": True}]
}


class AccessDecisionIn(Accepted, frozen=True):
    """Whether a principal keeps its access; without, it is disabled at once."""

    principal: Annotated[str, Meta(max_length=64)]
    keep: bool


class AccessDecisionsIn(Accepted, frozen=True):
    """Decisions of one call: all of them count, or none."""

    decisions: Annotated[list[AccessDecisionIn], Meta(min_length=1, max_length=MAX_ITEMS)]


class AccessReviewItemOut(Answered, frozen=True):
    """A principal under review."""

    principal: str
    name: str
    roles: list[str]
    keys: Annotated[int, Meta(description="Keys that are not revoked.")]
    last_used_at: datetime | None
    reviewed_until: Annotated[datetime, Meta(description="When its rights end, unless reviewed.")]
    decision: str | None
    decided_by: str | None
    decided_at: datetime | None


class AccessReviewOut(Answered, frozen=True):
    """An access review; its items stand only where one was asked for."""

    id: str
    opened_at: datetime
    due: datetime
    completed_at: datetime | None
    overdue: bool
    items: list[AccessReviewItemOut]


class AccessReviewsOut(Answered, frozen=True):
    """Access reviews, newest first."""

    items: list[AccessReviewOut]


def _review(view: ReviewView) -> AccessReviewOut:
    row = view.row
    return AccessReviewOut(
        id=row.id,
        opened_at=row.opened_at,
        due=row.due,
        completed_at=row.completed_at,
        overdue=row.completed_at is None and row.due <= row.now,
        items=[
            AccessReviewItemOut(
                principal=item.principal,
                name=item.name,
                roles=list(item.roles),
                keys=item.live_keys,
                last_used_at=item.last_used_at,
                reviewed_until=item.review_due,
                decision=item.decision,
                decided_by=item.decided_by,
                decided_at=item.decided_at,
            )
            for item in view.items
        ],
    )


@GROUP.call(
    "GET",
    "/v1/access-reviews",
    "List access reviews, newest first.",
    action=Action.READ_ACCESS_REVIEWS,
    answers={200: AccessReviewsOut},
)
def list_access_reviews(call: Call[None, None]) -> Answer:
    """List reviews."""
    found = present(call.served.reviewing).page(call.caller)
    return Answer(body=AccessReviewsOut(items=[_review(view) for view in found]))


@GROUP.call(
    "GET",
    "/v1/access-reviews/{review}",
    "Read an access review: principals, roles, keys, last use, decisions.",
    action=Action.READ_ACCESS_REVIEWS,
    answers={200: AccessReviewOut},
    codes=("access_review_not_found",),
)
def get_access_review(call: Call[None, None]) -> Answer:
    """Read a review."""
    return Answer(
        body=_review(present(call.served.reviewing).get(call.caller, call.path["review"]))
    )


@GROUP.call(
    "POST",
    "/v1/access-reviews/{review}/decisions",
    "Keep principals or remove them; a removal acts at once.",
    action=Action.REVIEW_ACCESS,
    body=AccessDecisionsIn,
    answers={200: AccessReviewOut},
    example=_EXAMPLE,
    codes=(
        "access_review_not_found",
        "access_review_completed",
        "access_already_decided",
        "own_access",
        "principal_not_found",
    ),
)
def decide_access_review(call: Call[AccessDecisionsIn, None]) -> Answer:
    """Decide."""
    view = present(call.served.reviewing).decide(
        call.caller,
        call.path["review"],
        [(each.principal, each.keep) for each in call.body.decisions],
    )
    return Answer(body=_review(view))
