"""Principals and their keys: dual control over every way to a guarded role."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import psycopg
import pytest

from tests.support.faults import FaultyUnitOfWork, Hooked, rebuilt
from tests.support.whole import UNKNOWN_PRINCIPAL, Stage, caller_of, name, refusal, soon
from vault_service.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    Unavailable,
)
from vault_service.ledger.entries import Event
from vault_service.services.authentication import Shown
from vault_service.services.context import Caller
from vault_service.services.views import IssuedKey, PrincipalView

UNKNOWN_KEY = "key_" + "0" * 16
PAST = datetime(2001, 1, 1, tzinfo=UTC)


def operator(stage: Stage) -> Caller:
    """The one who hands out credentials."""
    return stage.caller("operator")


def create(stage: Stage, *roles: str) -> IssuedKey:
    """A new principal with its first key."""
    return stage.principals.create(operator(stage), name=name("p"), roles=roles)


def counts(stage: Stage, key: str) -> str | None:
    """None if a key counts, or the code with which it is refused."""
    try:
        stage.services.authentication.authenticate(
            Shown(
                authorization=f"Bearer {key}",
                request_id="req_" + "0" * 26,
                address="127.0.0.1",
                deadline=stage.caller("billing").deadline,
            )
        )
    except NotAuthenticated as refused:
        return refused.code
    return None


def test_an_unguarded_key_counts_at_once(stage: Stage) -> None:
    """A billing system's key needs nobody's word; making it is two entries."""
    with stage.told() as entries:
        issued = create(stage, "billing", "support")
    assert issued.state == "active"
    assert counts(stage, issued.key) is None
    assert [(entry.event, entry.principal) for entry in entries] == [
        (Event.PRINCIPAL_CREATED, issued.principal.id),
        (Event.CREDENTIAL_ISSUED, issued.principal.id),
    ]
    assert entries[0].details == {"roles": "billing support"}
    assert entries[1].key == issued.id
    assert issued.key not in repr(issued)


@pytest.mark.parametrize("role", ["requester", "officer"])
def test_a_guarded_key_waits_for_an_officer(stage: Stage, role: str) -> None:
    """It counts only when an officer has confirmed it, and then at once."""
    issued = create(stage, role)
    assert issued.state == "pending"
    assert counts(stage, issued.key) == "credential_pending"
    with stage.told() as entries:
        view = stage.principals.confirm_key(
            stage.caller("officer-1"), issued.principal.id, issued.id
        )
    assert [(key.state, key.confirmed_by) for key in view.keys] == [
        ("active", stage.cast.id("officer-1"))
    ]
    assert counts(stage, issued.key) is None
    assert [(entry.event, entry.key) for entry in entries] == [
        (Event.CREDENTIAL_CONFIRMED, issued.id)
    ]
    error = refusal(
        lambda: stage.principals.confirm_key(
            stage.caller("officer-2"), issued.principal.id, issued.id
        ),
        Conflict,
    )
    assert error.code == "key_not_pending"


def test_nobody_confirms_his_own_key(stage: Stage) -> None:
    """Neither its holder nor its maker."""
    issued = create(stage, "officer")
    holder = caller_of(issued)
    error = refusal(
        lambda: stage.principals.confirm_key(holder, issued.principal.id, issued.id), Forbidden
    )
    assert error.code == "own_key"
    refusal(
        lambda: stage.principals.confirm_key(operator(stage), issued.principal.id, issued.id),
        Forbidden,
    )


def test_the_database_refuses_a_confirmation_of_ones_own(stage: Stage) -> None:
    """The console's own login cannot write that a maker or holder confirmed."""
    issued = create(stage, "officer")
    with stage.database.connect("vault_console") as link:
        for who in (stage.cast.id("operator"), issued.principal.id):
            with pytest.raises(psycopg.errors.CheckViolation), link.transaction():
                link.execute(
                    "UPDATE api_keys SET state = 'active', confirmed_by = %s WHERE id = %s",
                    [who, issued.id],
                )


def test_a_key_is_confirmed_under_its_own_principal(stage: Stage) -> None:
    """Key and principal must belong together; what is not there answers alike."""
    issued = create(stage, "officer")
    officer = stage.caller("officer-1")
    for principal, key in (
        (stage.cast.id("billing"), issued.id),
        (issued.principal.id, UNKNOWN_KEY),
        (UNKNOWN_PRINCIPAL, issued.id),
    ):
        with pytest.raises(NotFound) as refused:
            stage.principals.confirm_key(officer, principal, key)
        assert refused.value.code == "key_not_found"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"roles": []}, "roles_missing"),
        ({"roles": ["root"]}, "role_unknown"),
        ({"roles": ["operator", "officer"]}, "roles_conflict"),
        ({"roles": ["operator", "requester"]}, "roles_conflict"),
        ({"roles": ["officer", "requester"]}, "roles_conflict"),
        ({"roles": ["auditor", "billing"]}, "roles_conflict"),
        ({"name": ""}, "text_empty"),
        ({"name": "x" * 101}, "text_too_long"),
        ({"name": "4242 4242 4242 4242"}, "card_number_not_allowed_here"),
        ({"name": "officer\u202e1"}, "control_character"),
        ({"key_expires_at": PAST}, "expires_at_in_past"),
    ],
)
def test_a_wrong_principal_is_refused(stage: Stage, changes: dict[str, object], code: str) -> None:
    """Each mistake has its code, and nothing is made."""
    how: dict[str, object] = {"name": name("p"), "roles": ["billing"]}
    with stage.told() as entries:
        error = refusal(
            lambda: stage.principals.create(operator(stage), **(how | changes)),  # type: ignore[arg-type]
            InvalidInput,
        )
    assert error.code == code
    assert entries == []


def test_a_name_is_given_once(stage: Stage) -> None:
    """Also in another composition of Unicode."""
    taken = name("Andr\u00e9")
    stage.principals.create(operator(stage), name=taken, roles=["billing"])
    error = refusal(
        lambda: stage.principals.create(
            operator(stage), name=taken.replace("\u00e9", "e\u0301"), roles=["billing"]
        ),
        Conflict,
    )
    assert (error.code, error.pointer) == ("name_taken", "/name")


@pytest.mark.parametrize("who", ["billing", "support", "requester", "officer-1", "auditor"])
def test_only_an_operator_manages(stage: Stage, who: str) -> None:
    """Every other role is refused every change to somebody else."""
    caller, other = stage.caller(who), create(stage, "billing")
    target = other.principal.id
    principals = stage.principals
    for call in (
        lambda: principals.create(caller, name=name(), roles=["billing"]),
        lambda: principals.issue_key(caller, target),
        lambda: principals.revoke_key(caller, target, other.id),
        lambda: principals.disable(caller, target),
        lambda: principals.enable(caller, target),
        lambda: principals.set_roles(caller, target, ["support"]),
    ):
        with pytest.raises(Forbidden):
            call()


def test_a_key_that_expires_stops_to_count(stage: Stage) -> None:
    """By the database's clock."""
    issued = stage.principals.create(
        operator(stage), name=name("p"), roles=["billing"], key_expires_at=soon(hours=1)
    )
    assert counts(stage, issued.key) is None
    stage.sql("UPDATE api_keys SET expires_at = now() WHERE id = %s", [issued.id])
    assert counts(stage, issued.key) == "credential_expired"


def test_everybody_rotates_a_key_of_his_own(stage: Stage) -> None:
    """With a key that counts one makes another that counts, guarded or not, and ends the old."""
    issued = create(stage, "requester")
    stage.principals.confirm_key(stage.caller("officer-1"), issued.principal.id, issued.id)
    with stage.told() as entries:
        fresh = stage.principals.issue_key(caller_of(issued), "me", revoke=issued.id)
    assert fresh.state == "active"
    assert counts(stage, fresh.key) is None
    assert counts(stage, issued.key) == "credential_revoked"
    (entry,) = entries
    assert (entry.event, entry.key) == (Event.CREDENTIAL_ROTATED, fresh.id)
    assert entry.details == {"replaces": issued.id}


def test_an_operators_key_for_a_guarded_role_is_pending(stage: Stage) -> None:
    """Also when the principal has keys that count, and for a rotation."""
    first = create(stage, "officer")
    stage.principals.confirm_key(stage.caller("officer-1"), first.principal.id, first.id)
    with stage.told() as entries:
        second = stage.principals.issue_key(
            operator(stage), first.principal.id, expires_at=soon(days=1)
        )
    assert second.state == "pending"
    assert entries[0].details == {"state": "pending"}
    third = stage.principals.issue_key(operator(stage), first.principal.id, revoke=first.id)
    assert third.state == "pending"


def test_an_operator_manages_his_own_keys(stage: Stage) -> None:
    """His own key counts at once; no role of his is guarded."""
    issued = stage.principals.issue_key(operator(stage), stage.cast.id("operator"))
    assert issued.state == "active"


def test_keys_are_bounded(stage: Stage) -> None:
    """At most ten live keys for one principal; a revoked one makes room."""
    issued = create(stage, "billing")
    target = issued.principal.id
    for _ in range(9):
        stage.principals.issue_key(operator(stage), target)
    error = refusal(lambda: stage.principals.issue_key(operator(stage), target), Conflict)
    assert error.code == "too_many_keys"
    stage.principals.issue_key(operator(stage), target, revoke=issued.id)


@pytest.mark.parametrize("revoke", [UNKNOWN_KEY, "other", "twice"])
def test_only_a_live_key_of_the_same_principal_is_replaced(stage: Stage, revoke: str) -> None:
    """Another's, an unknown and a revoked key are not found, and no key is made."""
    issued = create(stage, "billing")
    target = issued.principal.id
    if revoke == "other":
        revoke = create(stage, "billing").id
    if revoke == "twice":
        revoke = issued.id
        stage.principals.revoke_key(operator(stage), target, revoke)
    with stage.told() as entries:
        error = refusal(
            lambda: stage.principals.issue_key(operator(stage), target, revoke=revoke), NotFound
        )
    assert error.code == "key_not_found"
    assert entries == []


def test_a_wrong_key_is_refused(stage: Stage) -> None:
    """An expiry in the past, and a principal that is not there."""
    error = refusal(
        lambda: stage.principals.issue_key(operator(stage), "me", expires_at=PAST), InvalidInput
    )
    assert error.code == "expires_at_in_past"
    missing = refusal(
        lambda: stage.principals.issue_key(operator(stage), UNKNOWN_PRINCIPAL), NotFound
    )
    assert missing.code == "principal_not_found"


def test_d5_a_revoked_key_fails_on_the_next_request(stage: Stage) -> None:
    """Revoked by its holder or by an operator; the entry names the key."""
    issued = create(stage, "billing")
    assert counts(stage, issued.key) is None
    with stage.told(Event.CREDENTIAL_REVOKED) as entries:
        view = stage.principals.revoke_key(caller_of(issued), "me", issued.id)
    assert [key.state for key in view.keys] == ["revoked"]
    assert view.keys[0].revoked_at is not None
    assert counts(stage, issued.key) == "credential_revoked"
    assert [entry.key for entry in entries] == [issued.id]


def test_d5_a_disabled_principal_fails_on_the_next_request(stage: Stage) -> None:
    """All its keys, until it is enabled again."""
    issued = create(stage, "billing")
    target = issued.principal.id
    with stage.told() as entries:
        assert stage.principals.disable(operator(stage), target).state == "disabled"
        refused = counts(stage, issued.key)
        assert stage.principals.enable(operator(stage), target).state == "active"
    assert refused == "principal_disabled"
    assert counts(stage, issued.key) is None
    assert [entry.event for entry in entries] == [
        Event.PRINCIPAL_DISABLED,
        Event.AUTHENTICATION_FAILED,
        Event.PRINCIPAL_ENABLED,
    ]
    error = refusal(lambda: stage.principals.disable(operator(stage), UNKNOWN_PRINCIPAL), NotFound)
    assert error.code == "principal_not_found"


def test_roles_are_taken_away_and_ungarded_ones_given(stage: Stage) -> None:
    """The entry tells both sets."""
    issued = create(stage, "billing")
    with stage.told() as entries:
        view = stage.principals.set_roles(
            operator(stage), issued.principal.id, ["support", "billing"]
        )
    assert view.roles == ("billing", "support")
    assert entries[0].details == {"roles": "billing support", "roles_before": "billing"}


@pytest.mark.parametrize("role", ["requester", "officer"])
def test_a_guarded_role_is_never_added(stage: Stage, role: str) -> None:
    """A principal that has keys already does not get one; nor one whose role was taken away."""
    issued = create(stage, "billing")
    error = refusal(
        lambda: stage.principals.set_roles(operator(stage), issued.principal.id, [role]), Conflict
    )
    assert error.code == "role_needs_new_principal"
    guarded = create(stage, role)
    stage.principals.set_roles(operator(stage), guarded.principal.id, ["billing"])
    key = stage.principals.issue_key(operator(stage), guarded.principal.id)
    assert key.state == "active"
    refusal(
        lambda: stage.principals.set_roles(operator(stage), guarded.principal.id, [role]), Conflict
    )


def test_nobody_changes_his_own_roles(stage: Stage) -> None:
    """By neither of his names."""
    for me in ("me", stage.cast.id("operator")):
        with pytest.raises(Forbidden) as refused:
            stage.principals.set_roles(operator(stage), me, ["billing"])
        assert refused.value.code == "own_roles"


def test_roles_of_nobody_are_not_found(stage: Stage) -> None:
    """An unknown principal, and roles that exclude each other."""
    refusal(
        lambda: stage.principals.set_roles(operator(stage), UNKNOWN_PRINCIPAL, ["billing"]),
        NotFound,
    )
    refusal(
        lambda: stage.principals.set_roles(
            operator(stage), UNKNOWN_PRINCIPAL, ["operator", "officer"]
        ),
        InvalidInput,
    )


def test_no_race_gives_a_guarded_role_a_key_without_an_officers_word(stage: Stage) -> None:
    """Giving a role back while a key is made for the principal without it: one must wait."""
    guarded = create(stage, "requester")
    target = guarded.principal.id
    taken = threading.Event()
    made: list[IssuedKey] = []

    def rival() -> None:
        # Takes the role away and has a key issued that counts, while the other is deciding.
        stage.principals.set_roles(operator(stage), target, ["billing"])
        made.append(stage.principals.issue_key(operator(stage), target))
        taken.set()

    thread = threading.Thread(target=rival)

    def ending(_: object) -> None:
        thread.start()
        taken.wait(0.5)

    slow = rebuilt(stage.principals, uow=Hooked(stage.principals._uow, ending=ending))
    slow.set_roles(operator(stage), target, ["requester", "billing"])
    thread.join()
    assert made[0].state == "active"
    view = stage.principals.get(operator(stage), target)
    assert "requester" not in view.roles


def test_an_operator_alone_never_holds_a_guarded_key_that_counts(stage: Stage) -> None:
    """Every sequence of his own calls ends with keys that are pending or of unguarded roles."""
    boss = operator(stage)
    attempts: list[IssuedKey] = []
    for role in ("requester", "officer"):
        issued = create(stage, role)
        target = issued.principal.id
        attempts.append(issued)
        attempts.append(stage.principals.issue_key(boss, target))
        attempts.append(stage.principals.issue_key(boss, target, revoke=issued.id))
        stage.principals.disable(boss, target)
        stage.principals.enable(boss, target)
        attempts.append(stage.principals.issue_key(boss, target))
        stage.principals.set_roles(boss, target, [role, "billing"])
        attempts.append(stage.principals.issue_key(boss, target))
        for made in attempts:
            # With a pending key nobody is a caller, so not even this one can speak for itself.
            with pytest.raises(Forbidden):
                stage.principals.confirm_key(boss, made.principal.id, made.id)
    assert {counts(stage, made.key) for made in attempts} == {
        "credential_pending",
        "credential_revoked",
    }


def test_everybody_sees_himself(stage: Stage) -> None:
    """`me` needs no right; others need one."""
    for who in ("billing", "requester", "operator"):
        view = stage.principals.get(stage.caller(who), "me")
        assert view.id == stage.cast.id(who)
    refusal(
        lambda: stage.principals.get(stage.caller("billing"), stage.cast.id("support")), Forbidden
    )
    view = stage.principals.get(stage.caller("auditor"), stage.cast.id("support"))
    assert view.name == "support"
    refusal(lambda: stage.principals.get(stage.caller("auditor"), UNKNOWN_PRINCIPAL), NotFound)


def test_pages_of_principals_follow_each_other(stage: Stage) -> None:
    """All principals, each once, each with its own keys."""
    extra = create(stage, "billing")
    seen: list[PrincipalView] = []
    cursor: str | None = None
    while True:
        views, cursor = stage.principals.page(stage.caller("officer-1"), cursor=cursor, limit=5)
        seen += views
        if cursor is None:
            break
    assert len({view.id for view in seen}) == len(seen)
    by_id = {view.id: view for view in seen}
    assert [key.id for key in by_id[extra.principal.id].keys] == [extra.id]
    assert stage.cast.id("billing") in by_id


@pytest.mark.parametrize(("cursor", "limit"), [("x", 10), (None, 0), (None, 101)])
def test_a_wrong_page_is_refused(stage: Stage, cursor: str | None, limit: int) -> None:
    """Cursor and limit are checked, and billing reads none."""
    refusal(
        lambda: stage.principals.page(stage.caller("operator"), cursor=cursor, limit=limit),
        InvalidInput,
    )
    refusal(lambda: stage.principals.page(stage.caller("billing"), cursor=None, limit=1), Forbidden)


def test_bootstrap_works_once(stage: Stage) -> None:
    """In a vault that has principals it makes none, and keeps none."""
    kept: list[object] = []
    assert stage.principals.bootstrap([("x", ["operator"])], keep=kept.append) == []
    assert kept == []


def test_two_first_starts_do_not_both_make_principals(stage: Stage) -> None:
    """While one is under way the other is told so."""
    inner: list[str] = []

    def ending(_: object) -> None:
        error = refusal(
            lambda: stage.principals.bootstrap([("x", ["operator"])], keep=lambda _: None), Conflict
        )
        inner.append(error.code)

    slow = rebuilt(stage.principals, uow=Hooked(stage.principals._uow, ending=ending))
    slow.bootstrap([("x", ["operator"])], keep=lambda _: None)
    assert inner == ["bootstrap_in_progress"]


def test_a_failed_commit_makes_no_credential(stage: Stage) -> None:
    """Neither key nor entry remains."""
    broken = rebuilt(stage.principals, uow=FaultyUnitOfWork(stage.principals._uow, at="instead"))
    taken = name("p")
    with stage.told() as entries:
        refusal(lambda: broken.create(operator(stage), name=taken, roles=["billing"]), Unavailable)
    assert entries == []
    stage.principals.create(operator(stage), name=taken, roles=["billing"])
