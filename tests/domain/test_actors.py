"""Roles, conflicts and the one table of permissions."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from vault_service.domain.actors import (
    CONFLICTS,
    PERMISSIONS,
    Action,
    Principal,
    PrincipalState,
    Role,
    check_roles,
    permits,
    require,
    roles_named,
)
from vault_service.errors import Forbidden, InvalidInput


def principal(*roles: Role, state: PrincipalState = PrincipalState.ACTIVE) -> Principal:
    """A principal with these roles."""
    return Principal(id="prn_" + "0" * 26, name="someone", roles=frozenset(roles), state=state)


ALLOWED = {
    Role.BILLING: "tokenize tokenize_batch read_masked search erase create_customer read_customer"
    " record_account_data read_account_data",
    Role.SUPPORT: "tokenize read_masked search create_customer read_customer"
    " read_customer_disclosures request_modification read_modifications decide_modification"
    " link_customers record_account_data read_account_data",
    Role.REQUESTER: "reveal request_disclosure read_disclosures withdraw_disclosure"
    " take_disclosure_token record_recipient read_recipients upload_evidence read_evidence",
    Role.OFFICER: "erase read_customer_disclosures read_disclosures read_evidence"
    " determine_disclosure decide_disclosure revoke_disclosure confirm_key read_principals"
    " record_recipient read_recipients open_evidence read_transparency place_hold release_hold"
    " read_hold read_holds plant_honeytokens read_policies erase_customer read_erasures"
    " review_access read_access_reviews read_usage",
    Role.AUDITOR: "read_evidence read_principals read_keys read_rotations read_ledger"
    " read_transparency read_holds read_policies read_erasures read_access_reviews read_usage",
    Role.OPERATOR: "manage_principals read_principals read_keys rotate_keys read_rotations"
    " read_policies manage_webhooks read_access_reviews read_usage",
}


@pytest.mark.parametrize("role", Role)
def test_the_whole_table(role: Role) -> None:
    """Each role may do exactly what is written here, action by action."""
    may = {action.value for action in Action if permits(principal(role), action)}
    assert may == set(ALLOWED[role].split())


def test_every_action_has_its_line() -> None:
    """The table is total, and nothing is allowed to nobody."""
    assert set(PERMISSIONS) == set(Action)
    assert all(PERMISSIONS.values())


def test_an_operator_neither_reveals_nor_approves() -> None:
    """Running the service gives no way to plaintext."""
    for action in (Action.REVEAL, Action.DECIDE_DISCLOSURE, Action.TAKE_DISCLOSURE_TOKEN):
        with pytest.raises(Forbidden) as caught:
            require(principal(Role.OPERATOR), action)
        assert caught.value.code == "forbidden"


def test_no_role_both_requests_and_approves() -> None:
    """Four eyes are four even where one principal holds every compatible role."""
    for roles in _subsets():
        try:
            held = check_roles(roles)
        except InvalidInput:
            continue
        someone = principal(*held)
        assert not (
            permits(someone, Action.DECIDE_DISCLOSURE)
            and permits(someone, Action.REQUEST_DISCLOSURE)
        )
        assert not (
            permits(someone, Action.MANAGE_PRINCIPALS)
            and (permits(someone, Action.CONFIRM_KEY) or permits(someone, Action.REVEAL))
        )


def _subsets() -> list[tuple[Role, ...]]:
    roles = list(Role)
    return list(chain.from_iterable(combinations(roles, n) for n in range(1, len(roles) + 1)))


def test_the_conflicts() -> None:
    """Three pairs about four eyes and dual control, and the auditor with everybody."""
    pairs = {frozenset(pair) for pair in CONFLICTS}
    assert pairs == {
        frozenset({Role.OPERATOR, Role.REQUESTER}),
        frozenset({Role.OPERATOR, Role.OFFICER}),
        frozenset({Role.OFFICER, Role.REQUESTER}),
        *(frozenset({Role.AUDITOR, role}) for role in Role if role is not Role.AUDITOR),
    }
    assert all(reason for reason in CONFLICTS.values())


@pytest.mark.parametrize("roles", _subsets())
def test_which_roles_go_together(roles: tuple[Role, ...]) -> None:
    """Every set of roles is taken or refused according to its pairs."""
    conflicting = any(frozenset(pair) in CONFLICTS for pair in combinations(roles, 2))
    if conflicting:
        with pytest.raises(InvalidInput) as caught:
            check_roles(roles)
        assert (caught.value.code, caught.value.pointer) == ("roles_conflict", "/roles")
    else:
        assert check_roles(roles) == frozenset(roles)


def test_a_principal_needs_a_role() -> None:
    """Without any role there is no principal."""
    with pytest.raises(InvalidInput) as caught:
        check_roles([])
    assert caught.value.code == "roles_missing"


def test_a_disabled_principal_may_nothing() -> None:
    """No role counts once the principal is disabled."""
    disabled = principal(Role.BILLING, state=PrincipalState.DISABLED)
    assert not any(permits(disabled, action) for action in Action)
    assert permits(principal(Role.BILLING), Action.TOKENIZE)
    require(principal(Role.BILLING), Action.TOKENIZE)


def test_roles_by_name() -> None:
    """Names become roles under the same rules; an unknown one is refused without an echo."""
    assert roles_named(["billing", "support"]) == {Role.BILLING, Role.SUPPORT}
    for names, code in ((["boss"], "role_unknown"), (["officer", "requester"], "roles_conflict")):
        with pytest.raises(InvalidInput) as caught:
            roles_named(names)
        assert caught.value.code == code
        assert "boss" not in caught.value.detail
