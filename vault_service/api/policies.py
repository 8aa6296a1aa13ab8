"""Calls on the history of the policy: versions, their texts, what they changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered, PageQuery
from vault_service.domain.actors import Action
from vault_service.services.policy_ports import AdoptionRow
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("policies", ProcessRole.CONSOLE)


class ChangesQuery(Accepted, frozen=True, rename={"since": "from"}):
    """Compared with what."""

    since: (
        Annotated[str, Meta(max_length=64, description="A version; else the one before.")] | None
    ) = None


class AdoptionOut(Answered, frozen=True):
    """A version that came into force."""

    number: Annotated[int, Meta(description="1, 2, 3 in the order in which they did.")]
    version: Annotated[str, Meta(description="SHA-256 of the policy file.")]
    name: str
    adopted_at: datetime
    until: Annotated[datetime | None, Meta(description="None for the one in force.")]


class AdoptionPageOut(Answered, frozen=True):
    """Versions as they came into force, newest first."""

    items: list[AdoptionOut]
    next: str | None


class PolicyTextOut(Answered, frozen=True):
    """A version's file, and when it was in force."""

    version: str
    text: str
    adoptions: list[AdoptionOut]


class DifferenceOut(Answered, frozen=True):
    """One difference, in words."""

    effect: Annotated[str, Meta(description="allowed, forbidden or changed.")]
    where: str
    says: str


class ChangesOut(Answered, frozen=True, rename={"old": "from", "new": "to"}):
    """What a version allows and forbids, compared with another."""

    old: str
    new: str
    differences: list[DifferenceOut]


def _shown(row: AdoptionRow) -> AdoptionOut:
    return AdoptionOut(
        number=row.number,
        version=row.version,
        name=row.name,
        adopted_at=row.adopted_at,
        until=row.until,
    )


@GROUP.call(
    "GET",
    "/v1/policies",
    "List the versions of the policy as they came into force, newest first.",
    action=Action.READ_POLICIES,
    query=PageQuery,
    answers={200: AdoptionPageOut},
    codes=("cursor_invalid",),
)
def list_policies(call: Call[None, PageQuery]) -> Answer:
    """List versions."""
    page = present(call.served.policies).page(
        call.caller, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(body=AdoptionPageOut(items=[_shown(one) for one in page.items], next=page.next))


@GROUP.call(
    "GET",
    "/v1/policies/{version}",
    "Read a version's text.",
    action=Action.READ_POLICIES,
    answers={200: PolicyTextOut},
    codes=("policy_not_found", "policy_altered"),
)
def get_policy(call: Call[None, None]) -> Answer:
    """Read a text."""
    found = present(call.served.policies).text(call.caller, call.path["version"])
    return Answer(
        body=PolicyTextOut(
            version=found.version,
            text=found.text,
            adoptions=[_shown(one) for one in found.adoptions],
        )
    )


@GROUP.call(
    "GET",
    "/v1/policies/{version}/changes",
    "Tell in words what a version allows and forbids, compared with an earlier one.",
    action=Action.READ_POLICIES,
    query=ChangesQuery,
    answers={200: ChangesOut},
    codes=("policy_not_found", "policy_altered", "policy_unreadable"),
)
def explain_policy(call: Call[None, ChangesQuery]) -> Answer:
    """Compare two versions."""
    found = present(call.served.policies).changes(
        call.caller, call.path["version"], since=call.query.since
    )
    return Answer(
        body=ChangesOut(
            old=found.old,
            new=found.new,
            differences=[
                DifferenceOut(effect=one.effect.value, where=one.where, says=one.says)
                for one in found.differences
            ],
        )
    )
