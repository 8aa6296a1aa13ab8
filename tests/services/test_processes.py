"""What processes do by themselves: sweep, rotate, tell of their start, say if they can serve."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from keys.errors import VaultUnavailable
from tests.support.faults import FaultyUnitOfWork, Hooked, rebuilt
from tests.support.whole import Stage, draft, numbers, refusal, soon
from vault_service.errors import Forbidden, NotFound, Unavailable
from vault_service.ledger.entries import ActorKind, Event
from vault_service.services import housekeeping
from vault_service.services.audit import Audit
from vault_service.services.context import Stranger
from vault_service.services.health import (
    KEEP,
    PATIENCE,
    STANDS,
    TIME_LIMIT,
    Finding,
    Health,
    Remembered,
)
from vault_service.services.housekeeping import Swept
from vault_service.services.tokenization import TokenizeItem

# ---------------------------------------------------------------- housekeeping


def test_a_sweep_ends_what_has_expired(stage: Stage, customer: str) -> None:
    """Tokens, grants and stored answers; entries by the worker for each customer and grant."""
    stage.housekeeping.sweep()
    other = stage.customer()
    short: dict[str, Any] = {"expires_at": soon(seconds=0.4)}
    gone = [
        stage.card(customer, "4242424242424242", **short),
        stage.card(customer, "5555555555554444", **short),
        stage.card(other, **short),
    ]
    stays = stage.card(customer, "378282246310005")
    stage.submit(
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820"), key="old"
    )
    stage.sql("UPDATE idempotency SET created_at = now() - interval '25 hours' WHERE key = 'old'")
    grant = stage.granted(draft(stays))
    stage.sql("UPDATE disclosures SET expires_at = now() WHERE id = %s", [grant.id])
    time.sleep(0.5)
    with stage.told() as entries:
        swept = stage.housekeeping.sweep()
    assert swept is not None
    assert (swept.tokens, swept.grants, swept.answers) == (3, 1, 1)
    assert not swept.more
    expired = [entry for entry in entries if entry.event is Event.TOKENS_EXPIRED]
    assert {entry.customer: set(entry.tokens) for entry in expired} == {
        customer: set(gone[:2]),
        other: {gone[2]},
    }
    assert [entry.grant for entry in entries if entry.event is Event.DISCLOSURE_EXPIRED] == [
        grant.id
    ]
    assert {(entry.actor.kind, entry.actor.id) for entry in entries} == {
        (ActorKind.SYSTEM, "worker")
    }
    assert stage.reading.get(stage.caller("billing"), stays).id == stays
    with stage.told() as nothing:
        assert stage.housekeeping.sweep() == Swept()
    assert nothing == []


def test_a_full_batch_asks_for_another_round(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds are bounded, and say when there is more."""
    stage.housekeeping.sweep()
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    for number in numbers(3, start=900):
        stage.card(customer, number, expires_at=soon(seconds=0.5))
    time.sleep(0.6)
    first, second = stage.housekeeping.sweep(), stage.housekeeping.sweep()
    assert first is not None
    assert second is not None
    assert (first.tokens, first.more) == (2, True)
    assert (second.tokens, second.more) == (1, False)


def test_a_run_sweeps_until_nothing_is_due(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A duty's round goes on while batches are full, and ends with the last."""
    stage.housekeeping.sweep()
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    tokens = [
        stage.card(customer, number, expires_at=soon(seconds=0.5))
        for number in numbers(3, start=930)
    ]
    time.sleep(0.6)
    stage.housekeeping.run(threading.Event())
    left = stage.sql(
        "SELECT 1 FROM records WHERE token = ANY(%s) AND envelope IS NOT NULL", [tokens]
    )
    assert left == []


def test_a_run_that_is_stopped_sweeps_nothing(stage: Stage, customer: str) -> None:
    """A stopping worker begins no further round."""
    token = stage.card(customer, expires_at=soon(seconds=0.3))
    time.sleep(0.4)
    stop = threading.Event()
    stop.set()
    stage.housekeeping.run(stop)
    assert stage.sql("SELECT envelope IS NULL FROM records WHERE token = %s", [token]) == [(False,)]


def test_one_worker_sweeps_at_a_time(stage: Stage) -> None:
    """While one is at it another does nothing; when it has died the next goes on."""
    inner: list[object] = []

    def ending(_: object) -> None:
        inner.append(stage.housekeeping.sweep())
        inner.append(stage.housekeeping.run(threading.Event()))
        raise Unavailable("died")

    hooked = rebuilt(stage.housekeeping, uow=Hooked(stage.housekeeping._uow, ending=ending))
    refusal(hooked.sweep, Unavailable)
    assert inner == [None, None]
    assert stage.housekeeping.sweep() is not None


def test_a_failed_sweep_leaves_all_as_it_was(stage: Stage, customer: str) -> None:
    """Nothing is erased without its entry."""
    token = stage.card(customer, expires_at=soon(seconds=0.3))
    time.sleep(0.4)
    broken = rebuilt(
        stage.housekeeping, uow=FaultyUnitOfWork(stage.housekeeping._uow, at="instead")
    )
    with stage.told() as entries:
        refusal(broken.sweep, Unavailable)
    assert entries == []
    assert stage.sql("SELECT envelope IS NULL FROM records WHERE token = %s", [token]) == [(False,)]


# ---------------------------------------------------------------- rotation


def test_a_rotation_raises_the_floor_and_is_told(stage: Stage) -> None:
    """The entry names key and versions; the floor is the new version."""
    with stage.told() as entries:
        begun = stage.key_rotation.begin(stage.caller("operator"), "evidence")
    assert begun.to_version == begun.from_version + 1
    (entry,) = entries
    assert (entry.event, entry.key, entry.actor.id) == (
        Event.VAULT_KEY_ROTATED,
        "evidence",
        stage.cast.id("operator"),
    )
    assert entry.details == {
        "from_version": begun.from_version,
        "to_version": begun.to_version,
        "min_encryption": begun.to_version,
    }
    assert stage.sql("SELECT min_version FROM key_floors WHERE key = 'evidence'") == [
        (begun.to_version,)
    ]


def test_a_rotation_whose_floor_was_not_raised_is_repeated(stage: Stage) -> None:
    """After a failed commit the next try raises the floor to Vault's version."""
    broken = rebuilt(stage.key_rotation, uow=FaultyUnitOfWork(stage.key_rotation._uow, at="before"))
    refusal(lambda: broken.begin("tests", "evidence"), Unavailable)
    begun = broken.begin("tests", "evidence")
    assert stage.sql("SELECT min_version FROM key_floors WHERE key = 'evidence'") == [
        (begun.to_version,)
    ]


@pytest.mark.parametrize("key", ["records-shoes", "fingerprint-request", ""])
def test_only_keks_and_signing_keys_are_rotated_so(stage: Stage, key: str) -> None:
    """A fingerprint key's values would have to be computed anew."""
    error = refusal(lambda: stage.key_rotation.begin("tests", key), NotFound)
    assert error.code == "vault_key_not_found"


@pytest.mark.parametrize("who", ["billing", "requester", "officer-1", "auditor"])
def test_only_an_operator_rotates(stage: Stage, who: str) -> None:
    """The refusal is an entry, and Vault is not asked."""
    with stage.told() as entries:
        refusal(lambda: stage.key_rotation.begin(stage.caller(who), "evidence"), Forbidden)
    assert [entry.details for entry in entries] == [{"action": "rotate_keys"}]


# ---------------------------------------------------------------- lifecycle


def test_start_policy_and_stop_are_told(stage: Stage) -> None:
    """The policy when another was in force before, start and stop each time."""
    stage.sql("TRUNCATE policies CASCADE")
    with stage.told() as entries:
        stage.services.lifecycle.started()
        stage.services.lifecycle.started()
        stage.services.lifecycle.stopped()
    assert [entry.event for entry in entries] == [
        Event.LOG_STARTED,
        Event.POLICY_ADOPTED,
        Event.LOG_STARTED,
        Event.LOG_STOPPED,
    ]
    policy = stage.services.policy
    assert entries[1].policy == policy.version
    assert entries[1].details == {"name": policy.name, "dated": policy.dated.isoformat()}
    ((body,),) = stage.sql("SELECT body FROM policies WHERE version = %s", [policy.version])
    assert body == stage.services.settings.policy_file.read_text(encoding="utf-8")


def test_a_worker_keeps_no_policy(stage: Stage) -> None:
    """It tells of its start only."""
    with stage.told() as entries:
        stage.worker.lifecycle.started()
    assert [(entry.event, entry.origin.role) for entry in entries] == [
        (Event.LOG_STARTED, "worker")
    ]


# ---------------------------------------------------------------- health


class _Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_check_answers_with_its_reason() -> None:
    """What is wrong is told in the words of whoever found it."""

    def vault() -> None:
        raise VaultUnavailable("vault is sealed")

    def database() -> None:
        raise Unavailable("the database cannot be reached")

    def schema() -> None:
        raise Finding("run the migrations")

    health = Health({"good": lambda: None, "vault": vault, "database": database, "schema": schema})
    assert [(each.name, each.ok, each.reason) for each in health.ready()] == [
        ("good", True, None),
        ("vault", False, "vault is sealed"),
        ("database", False, "the database cannot be reached"),
        ("schema", False, "run the migrations"),
    ]
    health.close()


def test_a_slow_check_does_not_keep_the_others_waiting() -> None:
    """All answer within the time limit; the slow one is told to be slow."""
    go = threading.Event()
    clock = _Clock()

    def slow() -> None:
        go.wait(10)

    def late() -> None:
        clock.now += TIME_LIMIT + 1

    health = Health({"late": late, "slow": slow}, clock=clock)
    assert [(each.name, each.ok, each.reason) for each in health.ready()] == [
        ("late", True, None),
        ("slow", False, "no answer in time"),
    ]
    go.set()
    health.close()


def test_nobody_waits_long_for_a_check_that_hangs() -> None:
    """Who asks again meanwhile is told what was found last, and after a while that nothing was."""
    go, hung = threading.Event(), threading.Event()
    clock = _Clock()

    def check() -> None:
        if hung.is_set():
            assert go.wait(10)

    health = Health({"database": check}, clock=clock)
    assert [each.ok for each in health.ready()] == [True]
    hung.set()
    clock.now += KEEP + 0.1
    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        found = [each.result(10) for each in [pool.submit(health.ready) for _ in "abcd"]]
        assert time.monotonic() - began < PATIENCE + 1
    assert [[each.ok for each in results] for results in found] == [[True]] * 4
    clock.now += STANDS
    assert [(each.ok, each.reason) for each in health.ready()] == [(False, "no answer in time")]
    go.set()
    hung.clear()
    until = time.monotonic() + 10
    while not health.ready()[0].ok:
        assert time.monotonic() < until
    health.close()


def test_findings_count_from_when_they_were_found() -> None:
    """One that took its time is not old when it comes: else each who asks would ask anew."""
    clock, asked = _Clock(), []

    def slow() -> None:
        clock.now += KEEP + 1
        asked.append(1)

    health = Health({"slow": slow}, clock=clock)
    first = health.ready()
    assert health.ready() is first
    assert len(asked) == 1
    health.close()


def test_a_process_that_stops_is_not_ready() -> None:
    """Whether it is asked before, while a check waits for its turn, or after: no error of ours."""
    inside, go = threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        assert go.wait(10)

    health = Health({"slow": slow})
    stopping = [("slow", False, "the process stops")]
    with ThreadPoolExecutor(1) as pool:
        ahead = health._pool.submit(slow)
        assert inside.wait(10)
        asked = pool.submit(health.ready)
        while not health._pool._work_queue.qsize():
            time.sleep(0.001)
        health.close()
        found = asked.result(10)
    go.set()
    ahead.result(10)
    assert [(each.name, each.ok, each.reason) for each in found] == stopping
    health._known = None
    assert [(each.name, each.ok, each.reason) for each in health.ready()] == stopping


def test_findings_are_kept_for_a_moment() -> None:
    """Asking often costs nothing; asking later asks anew."""
    clock, asked = _Clock(), []
    health = Health({"one": lambda: asked.append(1)}, clock=clock)
    first = health.ready()
    assert health.ready() is first
    clock.now += KEEP + 0.1
    health.ready()
    assert len(asked) == 2
    health.close()


def test_a_costly_check_is_remembered_while_it_is_well() -> None:
    """A good outcome counts for a while, a bad one not at all."""
    clock, outcomes = _Clock(), [Finding("ill"), None, Finding("ill again")]

    def check() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    remembered = Remembered(check, keep=10.0, clock=clock)
    with pytest.raises(Finding):
        remembered()
    remembered()
    remembered()
    assert len(outcomes) == 1
    clock.now += 10.1
    with pytest.raises(Finding):
        remembered()


def test_c8_a_switched_on_upsert_makes_the_process_unready(stage: Stage) -> None:
    """Readiness looks at what Vault has, not only whether it answers."""
    process = stage.worker.health
    with stage.admin() as admin:
        assert [each for each in process.ready() if not each.ok] == []
        admin._post("config/keys", {"disable_upsert": False}, dict)
        try:
            keys = check_of(process, "vault keys")
            fresh = Health({"vault keys": keys._check})  # type: ignore[attr-defined]
            (finding,) = fresh.ready()
            fresh.close()
        finally:
            admin.disable_upsert()
    assert not finding.ok


# ---------------------------------------------------------------- audit


def test_a_stranger_and_a_part_of_the_service_are_told_apart(stage: Stage) -> None:
    """Unknown callers have an address and no name; parts have a name and no address."""
    audit = Audit(process_role="all", uow=stage.reveals._uses._uow)
    stranger = Stranger(request_id="req_" + "2" * 26, address="2001:db8::1")
    with stage.told() as entries:
        audit.refused(Event.AUTHENTICATION_FAILED, stranger, reason="credential_unknown")
        audit.refused(Event.ACCESS_DENIED, "worker", reason="forbidden")
    by_kind = {entry.actor.kind: entry for entry in entries}
    unknown, system = by_kind[ActorKind.UNKNOWN], by_kind[ActorKind.SYSTEM]
    assert (unknown.actor.id, unknown.origin.address, unknown.request) == (
        "unknown",
        "2001:db8::1",
        "req_" + "2" * 26,
    )
    assert (system.actor.id, system.origin.address, system.request) == ("worker", "local", None)


def test_an_odd_address_neither_keeps_an_event_out_nor_gets_in(stage: Stage) -> None:
    """What is no address is told as unknown."""
    caller = replace(stage.caller("auditor"), address="4242 4242 4242 4242")
    with stage.told() as entries:
        refusal(lambda: stage.reading.get(caller, "x"), Forbidden)
    assert [entry.origin.address for entry in entries] == ["unknown"]


def test_a_refusal_that_cannot_be_written_is_an_outage(stage: Stage) -> None:
    """No decision without its entry."""
    audit = Audit(process_role="all", uow=FaultyUnitOfWork(stage.reveals._uses._uow, at="instead"))
    use_case = rebuilt(stage.reading, audit=audit)
    refusal(lambda: use_case.get(stage.caller("auditor"), "x"), Unavailable)


def check_of(health: Health, name: str) -> Callable[[], None]:
    """One check of a process."""
    return health._checks[name]


def test_every_database_role_and_vault_role_is_asked(stage: Stage) -> None:
    """A serving process asks for each of its logins."""
    names = {each.name for each in stage.services.health.ready()}
    assert {"database ingest", "database reveal", "database console"} <= names
    assert {"vault ingest", "vault reveal", "vault review", "vault sign-token"} <= names
    assert {"vault keys", "schema", "durability"} <= names
    check_of(stage.services.health, "schema")()
