"""A customer's change of his data: from a message or a ticket to a new version of a record.

Clauses M1 and M2 of the privacy policy: customers change their data by e-mail or by ticket, so
there is no other way to change a value, and no role that may simply write one over.

    open ──propose──► proposed ──confirm──► confirmed ──apply──► applied
      └──────────────────┴──── reject, withdraw, expire ────┴──► (ended)

`open` is a request whose value nobody has read out of the message yet. `proposed` holds the new
value, sealed. `confirmed` means that somebody made sure who asks. A change that another one
overtook is `superseded`. No input or output here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from vault_service.domain.classes import DataClass
from vault_service.errors import Conflict, Forbidden

# What nobody came back to in this time is ended, and what it held destroyed.
LIFE: Final = timedelta(days=30)

# A new card or telephone is what a thief of an account would enter: two people look at it.
SECOND_PERSON: Final = frozenset((DataClass.PAYMENT_CARD, DataClass.TELEPHONE))


class State(StrEnum):
    """Where a change stands."""

    OPEN = "open"
    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    APPLIED = "applied"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


PENDING: Final = frozenset((State.OPEN, State.PROPOSED, State.CONFIRMED))


class Step(StrEnum):
    """What can be done with a change."""

    PROPOSE = "propose"
    CONFIRM = "confirm"
    APPLY = "apply"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"
    SUPERSEDE = "supersede"
    ASSIGN = "assign"


class Source(StrEnum):
    """How the customer asked."""

    TICKET = "ticket"
    MAIL = "mail"


class Unassigned(StrEnum):
    """Why a message of the intake could be matched to no customer, when it came."""

    NO_SENDER = "no_sender"
    UNKNOWN_SENDER = "unknown_sender"
    SEVERAL_CUSTOMERS = "several_customers"


class Identity(StrEnum):
    """How somebody made sure that it is the customer who asks."""

    CALLED_BACK = "called_back"
    IN_PERSON = "in_person"
    SIGNED_IN = "signed_in"
    DOCUMENT = "document"
    KNOWN_ANSWER = "known_answer"


class Reason(StrEnum):
    """Why a change was rejected: words from a list, because a free text would hold names."""

    IDENTITY_NOT_CONFIRMED = "identity_not_confirmed"
    NOT_THIS_CUSTOMER = "not_this_customer"
    NOT_UNDERSTOOD = "not_understood"
    DUPLICATE = "duplicate"
    OTHER = "other"


_ENDS: Final[Mapping[Step, State]] = {
    Step.REJECT: State.REJECTED,
    Step.WITHDRAW: State.WITHDRAWN,
    Step.EXPIRE: State.EXPIRED,
    Step.SUPERSEDE: State.SUPERSEDED,
}
TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = MappingProxyType(
    {
        (State.OPEN, Step.PROPOSE): State.PROPOSED,
        (State.PROPOSED, Step.CONFIRM): State.CONFIRMED,
        (State.CONFIRMED, Step.APPLY): State.APPLIED,
        # The change of the customer who wrote has overtaken it.
        (State.OPEN, Step.ASSIGN): State.SUPERSEDED,
    }
    | {(state, step): after for state in PENDING for step, after in _ENDS.items()}
)
"""The whole table; what is not in it is refused."""

_MISSING: Final[Mapping[tuple[State, Step], tuple[str, str]]] = {
    (State.OPEN, Step.CONFIRM): ("modification_without_value", "no value has been proposed yet"),
    (State.OPEN, Step.APPLY): ("modification_without_value", "no value has been proposed yet"),
    (State.PROPOSED, Step.APPLY): (
        "identity_not_confirmed",
        "somebody must first make sure who asks",
    ),
    (State.PROPOSED, Step.ASSIGN): ("modification_has_value", "a value was proposed for it"),
    (State.CONFIRMED, Step.ASSIGN): ("modification_has_value", "a value was proposed for it"),
}


def advance(state: State, step: Step) -> State:
    """The state after the step.

    Raises:
        Conflict: the step is impossible in this state; the code says why.
    """
    after = TRANSITIONS.get((state, step))
    if after is not None:
        return after
    if state not in PENDING:
        raise Conflict("this change has come to its end", code="modification_ended")
    code, detail = _MISSING.get(
        (state, step), ("modification_step_done", "this has been done before")
    )
    raise Conflict(detail, code=code)


def needs_second_person(data_class: str) -> bool:
    """Whether who applies a change of this class must be another than who confirmed it."""
    return data_class in SECOND_PERSON


def check_applier(data_class: str, *, confirmed_by: str | None, principal: str) -> None:
    """Return if this principal may apply the change.

    Raises:
        Forbidden: `second_person_needed`.
    """
    if needs_second_person(data_class) and principal == confirmed_by:
        raise Forbidden(
            "a change of this class is applied by another person than who confirmed it",
            code="second_person_needed",
        )
