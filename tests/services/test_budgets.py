"""Disclosure budgets: hard, race-safe, by the database's clock, refused with nothing spent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.racing import threads
from tests.support.whole import Stage, card, numbers, refusal, standing
from vault_service.domain.grounds import Budget
from vault_service.errors import DisclosureRefused
from vault_service.ledger.entries import Entry, Event
from vault_service.services.alarms import Alarms
from vault_service.services.budget_ports import Account
from vault_service.services.budgets import Budgets, Charge
from vault_service.services.reveal.use_case import Reveal
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import RevealAnswer

GROUND, CATEGORY = "provide_service", "personal_and_account"


def budgets(stage: Stage, *, per_hour: int | None = None, per_day: int | None = None) -> Budgets:
    """Budgets of a policy with these limits on the ground of standing grants."""
    policy = stage.services.policy
    ground = policy.grounds[GROUND, CATEGORY]
    limited = replace(ground, budget=Budget(per_hour=per_hour, per_day=per_day))
    return Budgets(
        policy=replace(policy, grounds={**policy.grounds, (GROUND, CATEGORY): limited}),
        alarms=Alarms(uow=stage.reveals._uses._uow, audit=stage.reveals._audit),
    )


@pytest.fixture
def reveals(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reveal]:
    """The use case with blank accounts, in the middle of a made-up hour."""
    monkeypatch.setattr(stage.reveals._uses, "_budgets", stage.reveals._uses._budgets)
    forget(stage)
    yield stage.reveals
    forget(stage)


def forget(stage: Stage) -> None:
    """Have nothing spent and no alarm raised."""
    stage.sql("DELETE FROM disclosure_budgets")
    stage.sql("DELETE FROM alarms")


def spent(stage: Stage) -> list[tuple[int, int]]:
    """What is spent, per hour and day."""
    found: list[tuple[int, int]] = stage.sql("SELECT hour_spent, day_spent FROM disclosure_budgets")
    return found


def tokens(stage: Stage, count: int) -> list[str]:
    """Tokens of one customer."""
    customer = stage.customer()
    items = [
        TokenizeItem(data_class="payment_card", customer=customer, value=card(number))
        for number in numbers(count, start=7_000)
    ]
    return [view.id for view in stage.tokenize(*items, batch=True)]


def alarms_of(entries: list[Entry]) -> list[tuple[str | None, object, object]]:
    """(alarm, observed, limit) of the entries that raise one."""
    return [
        (entry.reason, entry.details["observed"], entry.details["limit"])
        for entry in entries
        if entry.event is Event.ALARM_RAISED
    ]


def test_values_are_counted_and_what_is_beyond_is_refused(stage: Stage, reveals: Reveal) -> None:
    """Nothing is spent by a refusal: neither the use, nor the token, nor the budget."""
    reveals._uses._budgets = budgets(stage, per_hour=5, per_day=100)
    names = tokens(stage, 3)
    grant = stage.granted(standing(*names))
    stage.revealed(stage.token(grant.id), *names)
    assert spent(stage) == [(3, 3)]
    proof = stage.token(grant.id)
    with stage.told() as told:
        error = refusal(lambda: stage.reveal(proof, *names), DisclosureRefused)
    assert error.code == "disclosure_budget_exhausted"
    assert "5 values per hour, of which 3 are spent" in error.detail
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    assert f"{hour:%Y-%m-%dT%H:00:00Z}" in error.detail
    refused = [entry for entry in told if entry.event is Event.REVEAL_REFUSED]
    assert [(entry.reason, entry.grant) for entry in refused] == [(error.code, grant.id)]
    assert alarms_of(told) == [("budget_exhausted", 6, 5)]
    assert stage.disclosure_reading.get(stage.caller("requester"), grant.id).uses_left == 99
    # What still fits goes through, with the very token that was refused.
    with stage.told() as told:
        stage.revealed(proof, *names[:2])
    assert spent(stage) == [(5, 5)]
    assert alarms_of(told) == [("budget_low", 5, 5)]


def test_the_days_budget_holds_over_the_hours(stage: Stage, reveals: Reveal) -> None:
    """A new hour brings the hour's values back and not the day's; a new day both."""
    reveals._uses._budgets = budgets(stage, per_hour=2, per_day=3)
    names = tokens(stage, 2)
    grant = stage.granted(standing(*names))
    stage.revealed(stage.token(grant.id), *names)
    stage.sql("UPDATE disclosure_budgets SET hour_at = hour_at - interval '1 hour'")
    error = refusal(lambda: stage.reveal(stage.token(grant.id), *names), DisclosureRefused)
    assert "3 values per day, of which 2 are spent" in error.detail
    assert "T00:00:00Z" in error.detail
    stage.revealed(stage.token(grant.id), names[0])
    assert spent(stage) == [(1, 3)]
    stage.sql("UPDATE disclosure_budgets SET day_at = day_at - interval '1 day'")
    stage.revealed(stage.token(grant.id), names[0])
    assert spent(stage) == [(2, 1)]


def test_what_no_budget_can_ever_hold_is_refused(stage: Stage, reveals: Reveal) -> None:
    """More at once than the whole: the first row is not even made."""
    reveals._uses._budgets = budgets(stage, per_day=1)
    names = tokens(stage, 2)
    proof = stage.token(stage.granted(standing(*names)).id)
    error = refusal(lambda: stage.reveal(proof, *names), DisclosureRefused)
    assert "1 values per day, of which 0 are spent" in error.detail
    assert spent(stage) == []


def test_without_a_budget_nothing_is_counted(stage: Stage, reveals: Reveal) -> None:
    """The shipped policy sets none on what charges need."""
    assert reveals is stage.reveals
    (name,) = tokens(stage, 1)
    stage.revealed(stage.token(stage.granted(standing(name)).id), name)
    assert spent(stage) == []


def test_what_a_spent_token_would_have_cost_is_given_back(stage: Stage, reveals: Reveal) -> None:
    """The budget pays for values that were seen."""
    reveals._uses._budgets = budgets(stage, per_hour=10)
    (name,) = tokens(stage, 1)
    proof = stage.token(stage.granted(standing(name)).id)
    stage.revealed(proof, name)
    assert refusal(lambda: stage.reveal(proof, name)).code == "disclosure_spent"
    assert spent(stage) == [(1, 1)]


def test_principals_and_grounds_have_budgets_of_their_own(stage: Stage, reveals: Reveal) -> None:
    """One that is spent leaves the others."""
    reveals._uses._budgets = budgets(stage, per_hour=1)
    (name,) = tokens(stage, 1)
    for who in ("requester", "requester-2"):
        grant = stage.granted(standing(name), by=who)
        stage.revealed(stage.token(grant.id, by=who), name, by=who)
        proof = stage.token(grant.id, by=who)
        assert refusal(lambda p=proof, w=who: stage.reveal(p, name, by=w)).code == (  # type: ignore[misc]
            "disclosure_budget_exhausted"
        )
    assert spent(stage) == [(1, 1), (1, 1)]


def test_racers_never_get_more_than_the_budget(stage: Stage, reveals: Reveal) -> None:
    """Six at once, each with tokens of its own: exactly as many succeed as there are values."""
    reveals._uses._budgets = budgets(stage, per_hour=11)
    (name,) = tokens(stage, 1)
    grant = stage.granted(standing(name))
    proofs = [[stage.token(grant.id) for _ in range(4)] for _ in range(6)]
    outcomes: list[object] = []

    def run(own: list[str]) -> None:
        for proof in own:
            try:
                outcomes.append(stage.reveal(proof, name))
            except DisclosureRefused as error:
                outcomes.append(error.code)

    threads([lambda own=own: run(own) for own in proofs])  # type: ignore[misc]
    assert sum(isinstance(each, RevealAnswer) for each in outcomes) == 11
    assert outcomes.count("disclosure_budget_exhausted") == 13
    assert spent(stage) == [(11, 11)]
    assert stage.disclosure_reading.get(stage.caller("requester"), grant.id).uses_left == 89
    ((times,),) = stage.sql("SELECT times FROM alarms WHERE name = 'budget_exhausted'")
    assert times == 1


def test_rows_decide_between_processes_too(reveals: Reveal) -> None:
    """Units of work of their own, which no gathering brings together."""
    uow, account = reveals._uses._uow, Account(principal="prn_x", ground="g", category="c")
    got: list[bool] = []
    start = threading.Barrier(8)

    def run() -> None:
        start.wait()
        for _ in range(5):
            with uow.begin() as tx:
                got.append(tx.budgets.take(account, 1, per_hour=23, per_day=99) is not None)

    threads([run] * 8)
    assert got.count(True) == 23
    assert got.count(False) == 17


def test_a_batch_pays_together_or_one_by_one(stage: Stage, reveals: Reveal) -> None:
    """Of three that together are too many, the first that fit are paid."""
    limited = budgets(stage, per_hour=10)
    charges = [
        Charge(caller=stage.caller("requester"), ground=GROUND, category=CATEGORY, count=count)
        for count in (6, 5, 4)
    ]
    free = replace(charges[0], ground="protect_from_harm", category="no_such")
    with reveals._uses._uow.begin() as tx:
        told = limited.charge(tx, [free, *charges])
        assert [None if each is None else each.code for each in told] == [
            None,
            None,
            "disclosure_budget_exhausted",
            None,
        ]
        limited.refund(tx, [free, charges[0]])
    assert spent(stage) == [(4, 4)]
    with reveals._uses._uow.begin() as tx:
        assert limited.charge(tx, [charges[1], replace(charges[2], count=1)]) == [None, None]
    assert spent(stage) == [(10, 10)]


def test_a_transaction_from_before_the_hour_spends_of_the_new_one(
    stage: Stage, reveals: Reveal
) -> None:
    """It began earlier and came later: what the new hour has counted stays."""
    account = Account(principal="prn_x", ground="g", category="c")
    with reveals._uses._uow.begin() as tx:
        tx.budgets.take(account, 3, per_hour=5, per_day=9)
    stage.sql(
        "UPDATE disclosure_budgets SET hour_at = hour_at + interval '1 hour',"
        " day_at = day_at + interval '1 day'"
    )
    with reveals._uses._uow.begin() as tx:
        assert tx.budgets.take(account, 3, per_hour=5, per_day=9) is None
        assert tx.budgets.take(account, 2, per_hour=5, per_day=9) is not None
    assert spent(stage) == [(5, 5)]


def test_a_refusal_stands_where_a_rival_gives_back_meanwhile(
    stage: Stage, reveals: Reveal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was too little a moment ago may be enough now; it is refused all the same."""
    from vault_service.services.budget_ports import Spent
    from vault_service.storage.budgets import SqlBudgets

    limited = budgets(stage, per_hour=1, per_day=9)
    charge = Charge(caller=stage.caller("requester"), ground=GROUND, category=CATEGORY, count=2)
    monkeypatch.setattr(SqlBudgets, "spent", lambda *_: Spent(hour=-1, day=0))
    with reveals._uses._uow.begin() as tx:
        (told,) = limited.charge(tx, [charge])
    assert told is not None
    assert "9 values per day" in told.detail
