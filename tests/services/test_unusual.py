"""Unusual use: what is too much within an hour is an alarm, once, and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.whole import Stage, numbers, refusal, standing
from vault_service.errors import DisclosureRefused
from vault_service.ledger.entries import Event
from vault_service.services import unusual
from vault_service.services.alarms import Alarms
from vault_service.services.unusual import Unusual
from vault_service.services.views import Revealed


class Clock:
    """A clock that is told the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def alarms(stage: Stage) -> Iterator[Alarms]:
    """The reveal side's, none raised before."""
    stage.sql("DELETE FROM alarms")
    yield Alarms(uow=stage.reveals._uses._uow, audit=stage.reveals._audit)
    stage.sql("DELETE FROM alarms")


def times(stage: Stage, alarm: str) -> list[tuple[str, int]]:
    """(subject, how often) of an alarm."""
    found: list[tuple[str, int]] = stage.sql(
        "SELECT subject, times FROM alarms WHERE name = %s ORDER BY subject", [alarm]
    )
    return found


def test_so_many_within_an_hour_are_an_alarm_and_slower_ones_none(
    stage: Stage, alarms: Alarms
) -> None:
    """The hour slides: what is older does not count."""
    clock = Clock()
    watch = Unusual("odd", limit=3, alarms=alarms, clock=clock)
    caller = stage.caller("requester")
    for clock.now in (0.0, 1800.0, 3601.0, 5500.0):
        watch.note(caller)
        assert times(stage, "odd") == []
    clock.now = 5501.0
    with stage.told(Event.ALARM_RAISED) as told:
        watch.note(caller)
    (entry,) = told
    assert (entry.principal, entry.details["limit"]) == (caller.principal.id, 3)
    # Counted from nothing again, and quiet for an hour in any case.
    watch.note(caller, 2)
    watch.note(caller, 50)
    assert times(stage, "odd") == [(caller.principal.id, 1)]


def test_callers_are_counted_apart_and_nothing_is_nothing(stage: Stage, alarms: Alarms) -> None:
    """Many that do a little are no alarm; a limit of 0 never is."""
    watch = Unusual("odd", limit=2, alarms=alarms)
    never = Unusual("odd", limit=0, alarms=alarms)
    for who in ("requester", "requester-2", "support"):
        watch.note(stage.caller(who))
        watch.note(stage.caller(who), 0)
        never.note(stage.caller(who), 9)
    assert times(stage, "odd") == []


def test_memory_is_bounded(stage: Stage, alarms: Alarms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did least lately is forgotten first."""
    monkeypatch.setattr(unusual, "MOST_CALLERS", 2)
    watch = Unusual("odd", limit=9, alarms=alarms)
    for who in ("requester", "requester-2", "requester", "support"):
        watch.note(stage.caller(who))
    kept = [stage.cast.id(who) for who in ("requester", "support")]
    assert list(watch._seen) == kept


def test_refused_reveals_are_counted(
    stage: Stage, alarms: Alarms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they were refused for."""
    monkeypatch.setattr(stage.reveals, "_refused", Unusual("odd", limit=3, alarms=alarms))
    token = stage.card(stage.customer())
    caller = stage.caller("requester")
    for proof in (None, "nonsense", "nonsense"):
        assert times(stage, "odd") == []
        refusal(
            lambda p=proof: stage.reveals.submit(  # type: ignore[misc]
                caller, disclosure_token=p, tokens=[token], fields=None
            ),
            DisclosureRefused,
        )
    assert times(stage, "odd") == [(caller.principal.id, 1)]


def test_searches_that_find_nothing_are_counted(
    stage: Stage, alarms: Alarms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By value; what is found, or is no value, does not count."""
    monkeypatch.setattr(stage.reading, "_missed", Unusual("odd", limit=2, alarms=alarms))
    stage.card(stage.customer())
    support = stage.caller("support")
    found = ["4242424242424242", "4242", "6011000990139424"]
    stage.reading.search(support, data_class="payment_card", values=found)
    assert times(stage, "odd") == []
    stage.reading.search(support, data_class="payment_card", values=["6011000990139424"])
    assert times(stage, "odd") == [(support.principal.id, 1)]


def test_a_value_that_does_not_open_is_one_alarm_for_the_reveal(stage: Stage) -> None:
    """Its entry names the records; the others are revealed."""
    customer = stage.customer()
    good, first, second = (
        stage.card(customer, number) for number in ("4242424242424242", *numbers(2, start=90_100))
    )
    stage.sql(
        "UPDATE records SET envelope = overlay(envelope PLACING '\\x00' FROM length(envelope))"
        " WHERE token = ANY(%s)",
        [[first, second]],
    )
    proof = stage.token(stage.granted(standing(good, first, second)).id)
    with stage.told(Event.ALARM_RAISED) as told:
        results = stage.reveal(proof, good, first, second).results
    assert isinstance(results[0], Revealed)
    assert [getattr(each, "code", None) for each in results[1:]] == ["value_unreadable"] * 2
    (entry,) = (each for each in told if each.reason == "value_unreadable")
    assert entry.tokens == (first, second)
    stage.erasure.erase(stage.caller("billing"), [first, second])
