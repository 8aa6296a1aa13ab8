"""Calls on honeytokens: officers mark what no honest caller touches. Marks cannot be read."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered
from vault_service.domain.actors import Action
from vault_service.services.honeytokens import MAX_NAMES
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("honeytokens", ProcessRole.CONSOLE)


class HoneytokensIn(Accepted, frozen=True):
    """Which records and customers."""

    names: Annotated[
        list[Annotated[str, Meta(max_length=64)]],
        Meta(
            min_length=1,
            max_length=MAX_NAMES,
            description="Tokens, and ids of customers: these with all records that they have now.",
        ),
    ]


class HoneytokensOut(Answered, frozen=True):
    """How many marks were set, taken away, or stand."""

    count: int


@GROUP.call(
    "POST",
    "/v1/honeytokens",
    "Mark records and customers: whoever is told of one loses the API key, and an alarm is raised.",
    action=Action.PLANT_HONEYTOKENS,
    body=HoneytokensIn,
    answers={200: HoneytokensOut},
    example={"names": ["cus_00000000000000000000000000"]},
    codes=("batch_size", "token_malformed", "customer_malformed", "not_found"),
)
def plant_honeytokens(call: Call[HoneytokensIn, None]) -> Answer:
    """Mark records and customers."""
    planted = present(call.served.honeytokens).plant(call.caller, call.body.names)
    return Answer(body=HoneytokensOut(count=planted))


@GROUP.call(
    "POST",
    "/v1/honeytokens/lift",
    "Take marks away. It raises an alarm of its own.",
    action=Action.PLANT_HONEYTOKENS,
    body=HoneytokensIn,
    answers={200: HoneytokensOut},
    example={"names": ["cus_00000000000000000000000000"]},
    codes=("batch_size", "token_malformed", "customer_malformed", "not_found"),
)
def lift_honeytokens(call: Call[HoneytokensIn, None]) -> Answer:
    """Take marks away."""
    lifted = present(call.served.honeytokens).lift(call.caller, call.body.names)
    return Answer(body=HoneytokensOut(count=lifted))


@GROUP.call(
    "GET",
    "/v1/honeytokens",
    "Tell how many marks stand.",
    action=Action.PLANT_HONEYTOKENS,
    answers={200: HoneytokensOut},
)
def count_honeytokens(call: Call[None, None]) -> Answer:
    """Tell how many marks stand."""
    return Answer(body=HoneytokensOut(count=present(call.served.honeytokens).count(call.caller)))
