"""What a disclosure request is, and the states it passes through from draft to end.

    draft -> submitted -> (determined) -> approved -> active -> spent | expired | revoked
    and from any state before active: denied, withdrawn
    and from any state after submission: superseded, by an amendment

A grant is its request in state `active`; there is one row for both. `approved` means that all
approvals are there and the grant has not started: a request passes through it within one unit of
work (`approve_last`, then `start`), and is stored in it only if the grant starts on a later day.
An approval that is not the last leaves the state as it is; the decisions are rows of their own.

The table says what may follow what; the `check_` functions say who may do it. Neither knows a
ground: what a ground asks for is decided by `domain.policy`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from vault_service.errors import Conflict, Forbidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Exactly what is asked for: named tokens, or a customer and classes of his.

    Attributes:
        tokens: the tokens, or None.
        customer: the customer, or None.
        classes: with a customer, the classes asked for; with tokens, the classes of the records
            that they name, as looked up by the caller of `policy.decide` and not as claimed.
        customers: with tokens, whose the records are that they name, as looked up likewise.
        fields: which fields of the values; None for all of them.
    """

    tokens: tuple[str, ...] | None = None
    customer: str | None = None
    classes: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None
    customers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """To whom the values go. The name is personal data: sealed in storage, never in the ledger."""

    kind: str
    name: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureRequest:
    """What somebody asks to disclose, to whom, and why.

    Attributes:
        ground: name of the ground; with the category it identifies one ground of the policy.
        category: category of the data.
        scope: what is asked for.
        recipient: to whom.
        evidence: what is shown for the ground, by the names of the policy's evidence fields.
        documents: the digests, among those that the evidence names, whose documents the requester
            has uploaded; looked up by the caller of `policy.decide`.
        uses: how often the grant may be used; one reveal, of any number of its tokens, is one use.
        duration: how long the grant shall last, or None for the longest that the ground allows.
    """

    ground: str
    category: str
    scope: Scope
    recipient: Recipient
    evidence: Mapping[str, str] = field(default_factory=dict, repr=False)
    documents: frozenset[str] = frozenset()
    uses: int = 1
    duration: timedelta | None = None


class State(StrEnum):
    """Where a request stands."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    DETERMINED = "determined"
    APPROVED = "approved"
    ACTIVE = "active"
    SPENT = "spent"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"  # by an amendment that has become a grant


TERMINAL: Final = frozenset(
    (
        State.SPENT,
        State.EXPIRED,
        State.REVOKED,
        State.DENIED,
        State.WITHDRAWN,
        State.SUPERSEDED,
    )
)

# While there is something to decide on: approvals before, revocation after a grant has begun.
DECIDABLE: Final = frozenset((State.SUBMITTED, State.DETERMINED, State.APPROVED, State.ACTIVE))


class Event(StrEnum):
    """What can happen to a request."""

    SUBMIT = "submit"
    DETERMINE = "determine"  # a named officer finds the instrument valid and enforceable
    APPROVE = "approve"  # an approval after which more are needed
    APPROVE_LAST = "approve_last"
    START = "start"
    DENY = "deny"  # also: an officer finds the instrument not valid or not enforceable
    WITHDRAW = "withdraw"
    USE = "use"  # a use after which more are left
    USE_LAST = "use_last"
    EXPIRE = "expire"
    REVOKE = "revoke"
    ANNUL = "annul"  # the instrument that was determined to be valid is so no longer
    SUPERSEDE = "supersede"  # an amendment starts


class Refusal(StrEnum):
    """Why an event is impossible in a state; these are error codes of the interface."""

    NOT_SUBMITTED = "disclosure_not_submitted"
    DETERMINATION_MISSING = "determination_missing"
    DETERMINATION_NOT_NEEDED = "determination_not_needed"
    ALREADY_DETERMINED = "already_determined"
    ALREADY_APPROVED = "disclosure_already_approved"
    NOT_APPROVED = "disclosure_not_approved"
    NOT_ACTIVE = "disclosure_not_active"
    ALREADY_ACTIVE = "disclosure_already_active"
    ENDED = "disclosure_ended"


_ENDED: Final[Mapping[Event, State | Refusal]] = dict.fromkeys(Event, Refusal.ENDED)

# Every event in every state. `use` and `use_last` are counted by the database's conditional
# UPDATE; they stand here so that the whole life is in one table.
_ROWS: Final[Mapping[State, Mapping[Event, State | Refusal]]] = {
    State.DRAFT: {
        **dict.fromkeys(Event, Refusal.NOT_SUBMITTED),
        Event.SUBMIT: State.SUBMITTED,
        Event.WITHDRAW: State.WITHDRAWN,
    },
    State.SUBMITTED: {
        Event.SUBMIT: State.SUBMITTED,
        Event.DETERMINE: State.DETERMINED,
        Event.APPROVE: State.SUBMITTED,
        Event.APPROVE_LAST: State.APPROVED,
        Event.START: Refusal.NOT_APPROVED,
        Event.DENY: State.DENIED,
        Event.WITHDRAW: State.WITHDRAWN,
        Event.USE: Refusal.NOT_ACTIVE,
        Event.USE_LAST: Refusal.NOT_ACTIVE,
        Event.EXPIRE: State.EXPIRED,
        Event.REVOKE: Refusal.NOT_ACTIVE,
        Event.ANNUL: Refusal.DETERMINATION_MISSING,
        Event.SUPERSEDE: State.SUPERSEDED,
    },
    State.DETERMINED: {
        Event.SUBMIT: State.DETERMINED,
        Event.DETERMINE: Refusal.ALREADY_DETERMINED,
        Event.APPROVE: State.DETERMINED,
        Event.APPROVE_LAST: State.APPROVED,
        Event.START: Refusal.NOT_APPROVED,
        Event.DENY: State.DENIED,
        Event.WITHDRAW: State.WITHDRAWN,
        Event.USE: Refusal.NOT_ACTIVE,
        Event.USE_LAST: Refusal.NOT_ACTIVE,
        Event.EXPIRE: State.EXPIRED,
        Event.REVOKE: Refusal.NOT_ACTIVE,
        Event.ANNUL: State.DENIED,
        Event.SUPERSEDE: State.SUPERSEDED,
    },
    State.APPROVED: {
        Event.SUBMIT: State.APPROVED,
        Event.DETERMINE: Refusal.ALREADY_APPROVED,
        Event.APPROVE: Refusal.ALREADY_APPROVED,
        Event.APPROVE_LAST: Refusal.ALREADY_APPROVED,
        Event.START: State.ACTIVE,
        Event.DENY: State.DENIED,
        Event.WITHDRAW: State.WITHDRAWN,
        Event.USE: Refusal.NOT_ACTIVE,
        Event.USE_LAST: Refusal.NOT_ACTIVE,
        Event.EXPIRE: State.EXPIRED,
        Event.REVOKE: State.REVOKED,
        Event.ANNUL: State.DENIED,
        Event.SUPERSEDE: State.SUPERSEDED,
    },
    State.ACTIVE: {
        Event.SUBMIT: State.ACTIVE,
        Event.DETERMINE: Refusal.ALREADY_ACTIVE,
        Event.APPROVE: Refusal.ALREADY_ACTIVE,
        Event.APPROVE_LAST: Refusal.ALREADY_ACTIVE,
        Event.START: Refusal.ALREADY_ACTIVE,
        Event.DENY: Refusal.ALREADY_ACTIVE,
        # To give up a right of one's own harms nobody.
        Event.WITHDRAW: State.WITHDRAWN,
        Event.USE: State.ACTIVE,
        Event.USE_LAST: State.SPENT,
        Event.EXPIRE: State.EXPIRED,
        Event.REVOKE: State.REVOKED,
        Event.ANNUL: State.REVOKED,
        Event.SUPERSEDE: State.SUPERSEDED,
    },
    **dict.fromkeys(TERMINAL, _ENDED),
}

# What a ground's need, or lack of need, of a determination changes in state `submitted`.
_WITH_DETERMINATION: Final[Mapping[Event, Refusal]] = {
    Event.APPROVE: Refusal.DETERMINATION_MISSING,
    Event.APPROVE_LAST: Refusal.DETERMINATION_MISSING,
}
_NOT_NEEDED: Final = Refusal.DETERMINATION_NOT_NEEDED
_WITHOUT_DETERMINATION: Final[Mapping[Event, Refusal]] = {Event.DETERMINE: _NOT_NEEDED}


def _table(changes: Mapping[Event, Refusal]) -> Mapping[tuple[State, Event], State | Refusal]:
    table = {(state, event): _ROWS[state][event] for state in State for event in Event}
    table.update({(State.SUBMITTED, event): refusal for event, refusal in changes.items()})
    if Event.DETERMINE in changes:  # what was never determined cannot be annulled
        open_ = (State.SUBMITTED, State.DETERMINED, State.APPROVED, State.ACTIVE)
        table.update(dict.fromkeys(((state, Event.ANNUL) for state in open_), _NOT_NEEDED))
    return MappingProxyType(table)


TRANSITIONS: Final[Mapping[bool, Mapping[tuple[State, Event], State | Refusal]]] = MappingProxyType(
    {True: _table(_WITH_DETERMINATION), False: _table(_WITHOUT_DETERMINATION)}
)
"""By whether the ground needs a determination: the whole table of (state, event)."""

_DETAILS: Final[Mapping[Refusal, str]] = {
    Refusal.NOT_SUBMITTED: "the request is a draft; submit it first",
    Refusal.DETERMINATION_MISSING: "an officer must first determine the instrument to be valid",
    Refusal.DETERMINATION_NOT_NEEDED: "this ground needs no determination",
    Refusal.ALREADY_DETERMINED: "the determination has been made",
    Refusal.ALREADY_APPROVED: "the request has all its approvals",
    Refusal.NOT_APPROVED: "approvals are missing",
    Refusal.NOT_ACTIVE: "the request is not an active grant",
    Refusal.ALREADY_ACTIVE: "the request is already an active grant; it can be revoked",
    Refusal.ENDED: "the request has come to its end",
}


def advance(state: State, event: Event, *, determination_needed: bool) -> State:
    """The state after the event.

    An event that changes nothing returns the same state: a repeated `submit` (harmless on what
    was submitted before), an approval or a use that is not the last.

    Raises:
        Conflict: the event is impossible in this state; the code is a `Refusal`.
    """
    after = TRANSITIONS[determination_needed][state, event]
    if isinstance(after, Refusal):
        raise Conflict(_DETAILS[after], code=after.value)
    return after


# ---------------------------------------------------------------- who may
# All compare immutable principal ids; names can be given to somebody else. Roles are decided by
# `domain.actors`; these rules come on top of them, and database constraints say the same again.


def check_decider(requester: str, officer: str) -> None:
    """Return if this officer may determine, approve or deny: anybody's request but his own.

    Raises:
        Forbidden: `own_request`.
    """
    if officer == requester:
        raise Forbidden("nobody decides on a request of his own", code="own_request")


def check_approver(requester: str, officer: str, approved_by: Collection[str]) -> None:
    """Return if this officer may add an approval to those of `approved_by`.

    Whoever determined may approve as well: the determination is about the instrument, the
    approval about the request.

    Raises:
        Forbidden: `own_request`.
        Conflict: `already_approved_by_you`.
    """
    check_decider(requester, officer)
    if officer in approved_by:
        raise Conflict("you have approved this request before", code="already_approved_by_you")


def check_requester(requester: str, principal: str) -> None:
    """Return if this principal may submit, withdraw, or take a token: the requester alone.

    Raises:
        Forbidden: `not_your_request`.
    """
    if principal != requester:
        raise Forbidden("only the requester may do this", code="not_your_request")


def last_approval(approved_by: Collection[str], needed: int) -> bool:
    """Whether one more approval, by somebody not among `approved_by`, is the last one needed."""
    return len(set(approved_by)) + 1 >= needed
