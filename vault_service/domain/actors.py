"""Who may do what: principals, their roles, and the one table that permits.

Every call asks this table and nothing else. It decides by role only; whose request it is, whether
a grant covers it and who approved it are decided where those are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from types import MappingProxyType

from vault_service.errors import Forbidden, InvalidInput


class Role(StrEnum):
    """What a principal is for."""

    BILLING = "billing"
    SUPPORT = "support"
    REQUESTER = "requester"
    OFFICER = "officer"
    AUDITOR = "auditor"
    OPERATOR = "operator"


class PrincipalState(StrEnum):
    """Whether a principal's credentials count."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated caller. `id` never changes and is never given out again."""

    id: str
    name: str
    roles: frozenset[Role]
    state: PrincipalState = PrincipalState.ACTIVE
    # An access review that he is part of, or should have made, is overdue.
    review_overdue: bool = False


def _conflicts() -> Mapping[frozenset[Role], str]:
    why = {
        frozenset((Role.OPERATOR, Role.REQUESTER)): (
            "whoever runs the service must not be able to ask for plaintext"
        ),
        frozenset((Role.OPERATOR, Role.OFFICER)): (
            "whoever hands out credentials must not be able to approve with one of them"
        ),
        frozenset((Role.OFFICER, Role.REQUESTER)): (
            "whoever approves must not be able to ask, or four eyes could be two"
        ),
    }
    for role in Role:
        if role is not Role.AUDITOR:
            why[frozenset((Role.AUDITOR, role))] = (
                "whoever examines the log must not be among those whom it is about"
            )
    return MappingProxyType(why)


# Pairs of roles that one principal may never hold together, each with its reason.
CONFLICTS: Mapping[frozenset[Role], str] = _conflicts()


def check_roles(roles: Iterable[Role], *, pointer: str | None = "/roles") -> frozenset[Role]:
    """The roles as a set, if one principal may hold them together.

    Raises:
        InvalidInput: `roles_missing`, or `roles_conflict` with the reason.
    """
    held = frozenset(roles)
    if not held:
        raise InvalidInput(
            "a principal needs at least one role", code="roles_missing", pointer=pointer
        )
    for pair in combinations(sorted(held), 2):
        reason = CONFLICTS.get(frozenset(pair))
        if reason is not None:
            raise InvalidInput(
                f"{pair[0]} and {pair[1]} cannot be one principal: {reason}",
                code="roles_conflict",
                pointer=pointer,
            )
    return held


_ROLES: Mapping[str, Role] = MappingProxyType({role.value: role for role in Role})


def roles_named(names: Iterable[str], *, pointer: str | None = "/roles") -> frozenset[Role]:
    """The roles of these names, if one principal may hold them together.

    Raises:
        InvalidInput: `role_unknown`, or as `check_roles`.
    """
    held = [_ROLES.get(name) for name in names]
    if None in held:
        raise InvalidInput("there is no such role", code="role_unknown", pointer=pointer)
    return check_roles((role for role in held if role is not None), pointer=pointer)


class Action(StrEnum):
    """What can be asked of the service; one for each line of the interface's table."""

    TOKENIZE = "tokenize"
    TOKENIZE_BATCH = "tokenize_batch"
    READ_MASKED = "read_masked"
    SEARCH = "search"
    ERASE = "erase"
    REVEAL = "reveal"
    CREATE_CUSTOMER = "create_customer"
    READ_CUSTOMER = "read_customer"
    READ_CUSTOMER_DISCLOSURES = "read_customer_disclosures"
    REQUEST_DISCLOSURE = "request_disclosure"
    READ_DISCLOSURES = "read_disclosures"
    UPLOAD_EVIDENCE = "upload_evidence"
    READ_EVIDENCE = "read_evidence"
    OPEN_EVIDENCE = "open_evidence"
    RECORD_RECIPIENT = "record_recipient"
    READ_RECIPIENTS = "read_recipients"
    WITHDRAW_DISCLOSURE = "withdraw_disclosure"
    DETERMINE_DISCLOSURE = "determine_disclosure"
    DECIDE_DISCLOSURE = "decide_disclosure"
    REVOKE_DISCLOSURE = "revoke_disclosure"
    TAKE_DISCLOSURE_TOKEN = "take_disclosure_token"  # noqa: S105 -- the name of an action
    ERASE_CUSTOMER = "erase_customer"
    READ_ERASURES = "read_erasures"
    REVIEW_ACCESS = "review_access"
    READ_ACCESS_REVIEWS = "read_access_reviews"
    PLACE_HOLD = "place_hold"
    RELEASE_HOLD = "release_hold"
    READ_HOLD = "read_hold"
    READ_HOLDS = "read_holds"
    REQUEST_MODIFICATION = "request_modification"
    READ_MODIFICATIONS = "read_modifications"
    DECIDE_MODIFICATION = "decide_modification"
    LINK_CUSTOMERS = "link_customers"
    RECORD_ACCOUNT_DATA = "record_account_data"
    READ_ACCOUNT_DATA = "read_account_data"
    MANAGE_PRINCIPALS = "manage_principals"
    CONFIRM_KEY = "confirm_key"
    READ_PRINCIPALS = "read_principals"
    READ_KEYS = "read_keys"
    ROTATE_KEYS = "rotate_keys"
    READ_ROTATIONS = "read_rotations"
    READ_LEDGER = "read_ledger"
    READ_TRANSPARENCY = "read_transparency"
    READ_USAGE = "read_usage"
    MANAGE_WEBHOOKS = "manage_webhooks"
    PLANT_HONEYTOKENS = "plant_honeytokens"
    READ_POLICIES = "read_policies"


_WRITERS = frozenset((Role.BILLING, Role.SUPPORT))
_OFFICER = frozenset((Role.OFFICER,))
_REQUESTER = frozenset((Role.REQUESTER,))
_KEY_READERS = frozenset((Role.OPERATOR, Role.AUDITOR))

PERMISSIONS: Mapping[Action, frozenset[Role]] = MappingProxyType(
    {
        Action.TOKENIZE: _WRITERS,
        Action.TOKENIZE_BATCH: frozenset((Role.BILLING,)),
        Action.READ_MASKED: _WRITERS,
        Action.SEARCH: _WRITERS,
        Action.ERASE: frozenset((Role.BILLING, Role.OFFICER)),
        # A role alone reveals nothing: the disclosure token, its holder and its grant decide.
        Action.REVEAL: _REQUESTER,
        Action.CREATE_CUSTOMER: _WRITERS,
        Action.READ_CUSTOMER: _WRITERS,
        Action.READ_CUSTOMER_DISCLOSURES: frozenset((Role.OFFICER, Role.SUPPORT)),
        Action.REQUEST_DISCLOSURE: _REQUESTER,
        Action.READ_DISCLOSURES: frozenset((Role.REQUESTER, Role.OFFICER)),
        Action.UPLOAD_EVIDENCE: _REQUESTER,
        # A role alone opens no evidence: it is one's own, or there is something to decide on, or
        # an officer has opened that of one request to this auditor for a time.
        Action.READ_EVIDENCE: frozenset((Role.REQUESTER, Role.OFFICER, Role.AUDITOR)),
        Action.OPEN_EVIDENCE: _OFFICER,
        # What was put down of a recipient counts for nothing until officers approve a request.
        Action.RECORD_RECIPIENT: frozenset((Role.REQUESTER, Role.OFFICER)),
        Action.READ_RECIPIENTS: frozenset((Role.REQUESTER, Role.OFFICER)),
        Action.WITHDRAW_DISCLOSURE: _REQUESTER,
        Action.DETERMINE_DISCLOSURE: _OFFICER,
        Action.DECIDE_DISCLOSURE: _OFFICER,
        Action.REVOKE_DISCLOSURE: _OFFICER,
        Action.TAKE_DISCLOSURE_TOKEN: _REQUESTER,
        Action.REVIEW_ACCESS: _OFFICER,
        Action.READ_ACCESS_REVIEWS: frozenset((Role.OFFICER, Role.AUDITOR, Role.OPERATOR)),
        # It takes two officers: one asks, another confirms.
        Action.ERASE_CUSTOMER: _OFFICER,
        Action.READ_ERASURES: frozenset((Role.OFFICER, Role.AUDITOR)),
        # Placed by one officer, released by another; auditors see that there is one, and not why.
        Action.PLACE_HOLD: _OFFICER,
        Action.RELEASE_HOLD: _OFFICER,
        Action.READ_HOLD: _OFFICER,
        Action.READ_HOLDS: frozenset((Role.OFFICER, Role.AUDITOR)),
        Action.REQUEST_MODIFICATION: frozenset((Role.SUPPORT,)),
        Action.READ_MODIFICATIONS: frozenset((Role.SUPPORT,)),
        # What a new card or telephone needs beside this role: a second person who holds it.
        Action.DECIDE_MODIFICATION: frozenset((Role.SUPPORT,)),
        Action.LINK_CUSTOMERS: frozenset((Role.SUPPORT,)),
        Action.RECORD_ACCOUNT_DATA: _WRITERS,
        Action.READ_ACCOUNT_DATA: _WRITERS,
        # Dual control: an operator makes the credential of a requester or an officer, and it
        # counts only when an officer has confirmed it.
        Action.MANAGE_PRINCIPALS: frozenset((Role.OPERATOR,)),
        Action.CONFIRM_KEY: _OFFICER,
        Action.READ_PRINCIPALS: frozenset((Role.OPERATOR, Role.OFFICER, Role.AUDITOR)),
        Action.READ_KEYS: _KEY_READERS,
        Action.ROTATE_KEYS: frozenset((Role.OPERATOR,)),
        Action.READ_ROTATIONS: _KEY_READERS,
        Action.MANAGE_WEBHOOKS: frozenset((Role.OPERATOR,)),
        # Not an operator, who must be found out like anybody else.
        Action.PLANT_HONEYTOKENS: _OFFICER,
        Action.READ_LEDGER: frozenset((Role.AUDITOR,)),
        # An officer publishes it, and an auditor holds it against the log. It tells of nobody.
        Action.READ_TRANSPARENCY: frozenset((Role.OFFICER, Role.AUDITOR)),
        # It tells of nobody, either; the operator runs the website's other servers, too.
        Action.READ_USAGE: frozenset((Role.OPERATOR, Role.OFFICER, Role.AUDITOR)),
        # Officers decide by it.
        Action.READ_POLICIES: frozenset((Role.AUDITOR, Role.OFFICER, Role.OPERATOR)),
    }
)


# What nobody may do while an access review that concerns him is overdue: reveal and approve.
TAKEN_WHEN_OVERDUE: frozenset[Action] = frozenset(
    (
        Action.REVEAL,
        Action.TAKE_DISCLOSURE_TOKEN,
        Action.DETERMINE_DISCLOSURE,
        Action.DECIDE_DISCLOSURE,
    )
)


def permits(principal: Principal, action: Action) -> bool:
    """Whether one of the principal's roles allows the action; a disabled principal may nothing."""
    if principal.state is not PrincipalState.ACTIVE:
        return False
    return not principal.roles.isdisjoint(PERMISSIONS[action])


def require(principal: Principal, action: Action) -> None:
    """Return if the principal may do this.

    Raises:
        Forbidden: no role of the principal allows the action, or an access review is overdue.
    """
    if not permits(principal, action):
        raise Forbidden(f"none of your roles allows this action: {action}")
    if principal.review_overdue and action in TAKEN_WHEN_OVERDUE:
        raise Forbidden(
            "an access review is overdue",
            code="access_review_overdue",
            hint="officers review each other and all requesters: /v1/access-reviews",
        )
