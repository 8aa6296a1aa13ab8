"""The rows of requests and grants: who may know of one, how it stands, and what it grants."""

from __future__ import annotations

from collections.abc import Sequence

from vault_service.domain import tokens
from vault_service.domain.actors import Role
from vault_service.domain.disclosures import Scope, State
from vault_service.domain.grounds import Policy
from vault_service.errors import Conflict, InvalidInput, NotFound
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import DecisionRow, DisclosureRow
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.token_claims import PACKAGE, Bound, Grant


def unknown() -> NotFound:
    """What is answered of a request that there is not, or that is not for the caller to know of."""
    return NotFound("there is no such disclosure request", code="disclosure_not_found")


def found(tx: Transaction, disclosure: str, *, lock: bool = False) -> DisclosureRow:
    """One request, locked for the rest of the unit of work when asked.

    Raises:
        NotFound: there is none; what is no id answers alike.
    """
    try:
        bucket = tokens.bucket_from_disclosure_id(disclosure)
    except InvalidInput as exc:
        raise unknown() from exc
    row = tx.disclosures.get(bucket, disclosure, lock=lock)
    if row is None:
        raise unknown()
    return row


def find(uow: UnitOfWork, caller: Caller, disclosure: str) -> DisclosureRow:
    """A request that the caller may know of: his own, or any for an officer.

    Raises:
        NotFound: there is none; another's answers alike.
    """
    with uow.begin(read_only=True) as tx:
        row = found(tx, disclosure)
    if row.requester != caller.principal.id and Role.OFFICER not in caller.principal.roles:
        raise unknown()
    return row


def state_now(row: DisclosureRow) -> State:
    """The state as it counts now: a grant past its end is expired, whatever the row says yet."""
    state = State(row.state)
    if state is State.ACTIVE and row.expires_at is not None and row.expires_at <= row.now:
        return State.EXPIRED
    return state


def check_current(row: DisclosureRow, policy: Policy) -> None:
    """A request lives and dies under the policy version that it was made under.

    Raises:
        Conflict: the policy has changed since.
    """
    if row.policy != policy.version:
        raise Conflict(
            "the policy has changed since this request was made",
            code="policy_changed",
            hint="make a new request",
        )


def approvers(decisions: Sequence[DecisionRow]) -> set[str]:
    """Who approved."""
    return {each.principal for each in decisions if each.kind == "approve"}


def told_grant(row: DisclosureRow) -> Grant:
    """The grant as far as a disclosure token tells of it."""
    return Grant(
        id=row.id,
        policy=row.policy,
        ground=row.ground,
        category=row.category,
        recipient=row.recipient_kind,
        uses=row.uses,
        scope=Scope(
            tokens=row.tokens,
            customer=row.customer,
            classes=row.classes or (),
            fields=row.fields,
        ),
        bound=Bound(
            recipient_id=row.recipient,
            recipient_key=row.recipient_key,
            delivery=row.delivery if row.delivery == PACKAGE else None,
        ),
    )
