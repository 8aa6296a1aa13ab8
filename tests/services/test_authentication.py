"""Authentication: anew on every request, alike for every unknown key."""

from __future__ import annotations

import functools
import threading

import pytest

from tests.support.faults import FaultyUnitOfWork, rebuilt
from tests.support.whole import Stage, refusal
from vault_service.domain.actors import Role
from vault_service.errors import NotAuthenticated, Unavailable
from vault_service.ledger.entries import ActorKind, Event
from vault_service.services.authentication import Shown
from vault_service.services.context import Caller

REQUEST = "req_" + "1" * 26


def ask(stage: Stage, header: str | None) -> Caller:
    """Authenticate a header."""
    return stage.services.authentication.authenticate(
        Shown(
            authorization=header,
            request_id=REQUEST,
            address="192.0.2.7",
            deadline=stage.caller("billing").deadline,
        )
    )


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_the_holder_of_a_key_is_its_principal(stage: Stage, scheme: str) -> None:
    """The caller has the roles of now, the key's id, and the request's own particulars."""
    caller = ask(stage, scheme + stage.cast.keys["billing"])
    assert caller.principal.id == stage.cast.id("billing")
    assert caller.principal.roles == {Role.BILLING}
    assert caller.key_id == stage.cast.principals["billing"][1]
    assert (caller.request_id, caller.address) == (REQUEST, "192.0.2.7")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "credential_missing"),
        ("", "credential_missing"),
        ("Basic dXNlcjpwYXNz", "credential_malformed"),
        ("Bearer", "credential_malformed"),
        ("Bearer ", "credential_malformed"),
        ("Bearer vk_1_2", "credential_malformed"),
        ("Bearer " + "v" * 100_000, "credential_malformed"),
        ("Bearer vk_" + "0" * 16 + "_" + "\u0660" * 52, "credential_malformed"),
    ],
)
def test_what_is_no_key_is_refused_without_a_look_up(
    stage: Stage, header: str | None, code: str
) -> None:
    """It names nobody, so there is nothing to write down."""
    with stage.told() as entries:
        assert refusal(lambda: ask(stage, header), NotAuthenticated).code == code
    assert entries == []


def test_an_unknown_key_and_a_wrong_secret_answer_alike(stage: Stage) -> None:
    """Nobody learns which key ids exist; both are entries by nobody known."""
    key = stage.cast.keys["billing"]
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    unknown = "vk_" + "0" * 16 + key[19:]
    with stage.told() as entries:
        errors = [
            refusal(functools.partial(ask, stage, f"Bearer {key}")) for key in (wrong, unknown)
        ]
    assert {(type(e), e.code, e.detail) for e in errors} == {
        (NotAuthenticated, "credential_unknown", "this API key is not known")
    }
    assert [(e.event, e.actor.kind, e.reason) for e in entries] == [
        (Event.AUTHENTICATION_FAILED, ActorKind.UNKNOWN, "credential_unknown")
    ] * 2
    assert entries[0].key == stage.cast.principals["billing"][1]
    assert (entries[0].origin.address, entries[0].request) == ("192.0.2.7", REQUEST)


def test_a_wrong_secret_learns_nothing_of_the_keys_state(stage: Stage) -> None:
    """Revoked, pending and expired are told to the holder of the right secret only."""
    issued = stage.principals.create(
        stage.caller("operator"), name="state-" + REQUEST[-8:], roles=["officer"]
    )
    wrong = issued.key[:-1] + ("0" if issued.key[-1] != "0" else "1")
    assert refusal(lambda: ask(stage, f"Bearer {wrong}")).code == "credential_unknown"


def test_last_use_is_recorded_to_the_minute(stage: Stage) -> None:
    """The first use is written; the next within a minute is not."""
    issued = stage.principals.issue_key(stage.caller("billing"), "me")
    sql = "SELECT last_used_at FROM api_keys WHERE id = %s"
    assert stage.sql(sql, [issued.id]) == [(None,)]
    ask(stage, f"Bearer {issued.key}")
    ((first,),) = stage.sql(sql, [issued.id])
    assert first is not None
    ask(stage, f"Bearer {issued.key}")
    assert stage.sql(sql, [issued.id]) == [(first,)]


def test_a_refusal_that_cannot_be_written_down_is_an_outage(stage: Stage) -> None:
    """Nobody is refused unseen."""
    audit = rebuilt(
        stage.services.authentication._audit,
        uow=FaultyUnitOfWork(stage.services.authentication._uow, at="instead"),
        process_role="all",
    )
    broken = rebuilt(stage.services.authentication, audit=audit)
    refusal(
        lambda: broken.authenticate(
            Shown(
                authorization="Bearer vk_" + "0" * 16 + "_" + "0" * 52,
                request_id=REQUEST,
                address="local",
                deadline=stage.caller("billing").deadline,
            )
        ),
        Unavailable,
    )


def test_many_at_once_are_each_themselves(stage: Stage) -> None:
    """Gathered look-ups never mix up who is who."""
    seen: list[tuple[str, str]] = []

    def call(name: str) -> None:
        caller = ask(stage, f"Bearer {stage.cast.keys[name]}")
        seen.append((name, caller.principal.name))

    threads = [threading.Thread(target=call, args=(name,)) for name in list(stage.cast.keys) * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(threads)
    assert all(asked == told for asked, told in seen)


def test_those_who_come_together_are_each_judged_alone(stage: Stage) -> None:
    """One look-up for all; a refusal is one caller's, and each is written down."""
    headers = [
        f"Bearer {stage.cast.keys['billing']}",
        None,
        "Bearer vk_" + "0" * 16 + "_" + "0" * 52,
        f"Bearer {stage.cast.keys['support']}",
        f"Bearer {stage.cast.keys['billing'][:-1]}" + "0",
    ]
    shown = [
        Shown(
            authorization=header,
            request_id=REQUEST,
            address="192.0.2.7",
            deadline=stage.caller("billing").deadline,
        )
        for header in headers
    ]
    with stage.told(Event.AUTHENTICATION_FAILED) as entries:
        outcomes = stage.services.authentication.authenticate_many(shown)
    who = [each.principal.id if isinstance(each, Caller) else each.code for each in outcomes]
    assert who[:4] == [
        stage.cast.id("billing"),
        "credential_missing",
        "credential_unknown",
        stage.cast.id("support"),
    ]
    assert who[4] in {"credential_unknown", "credential_malformed"}
    assert len(entries) == who.count("credential_unknown")
    assert stage.services.authentication.authenticate_many(shown[1:2])


def test_keys_that_were_long_unused_are_noted_together(stage: Stage) -> None:
    """Once for each key, whoever many requests show it."""
    keys = [stage.cast.keys["billing"], stage.cast.keys["support"], stage.cast.keys["billing"]]
    stage.sql("UPDATE api_keys SET last_used_at = NULL")
    shown = [
        Shown(
            authorization=f"Bearer {key}",
            request_id=REQUEST,
            address="192.0.2.7",
            deadline=stage.caller("billing").deadline,
        )
        for key in keys
    ]
    stage.services.authentication.authenticate_many(shown)
    ((used,),) = stage.sql("SELECT count(*) FROM api_keys WHERE last_used_at IS NOT NULL")
    assert used == 2
