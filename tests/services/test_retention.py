"""Retention: what is past its time ends, by class, under holds, with entries."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.whole import Stage, name, standing
from vault_service.domain.classes import DataClass
from vault_service.ledger.entries import Event
from vault_service.services import retention as module
from vault_service.services.activity import EntryDraft
from vault_service.services.audit import Audit
from vault_service.services.holds import HoldDraft
from vault_service.services.proposals import ModificationDraft
from vault_service.services.retention import Planned, Retention
from vault_service.services.retention_ports import DueRecord
from vault_service.services.service_choices import ChoiceDraft
from vault_service.services.tokenization import TokenizeItem

YEAR = timedelta(days=365)
OLD = timedelta(days=400)


@pytest.fixture(autouse=True)
def _empty(stage: Stage) -> None:
    """What other stories left would be counted."""
    stage.sql("DELETE FROM activity_segments")
    stage.sql("UPDATE records SET created_at = now()")


def duty(stage: Stage, **periods: timedelta) -> Retention:
    """The duty with these periods."""
    assert stage.worker.retention is not None
    uow = stage.worker.retention._uow
    return Retention(uow=uow, audit=Audit(process_role="worker", uow=uow), periods=periods)


def run(use_case: Retention) -> None:
    """One round."""
    use_case.run(threading.Event())


def telephone(stage: Stage, customer: str, number: int, *, age: timedelta = OLD) -> str:
    """The token of a telephone that was made so long ago."""
    (view,) = stage.tokenize(
        TokenizeItem(data_class="telephone", customer=customer, value=f"+49 30 9018{number:02d}")
    )
    stage.sql("UPDATE records SET created_at = now() - %s WHERE token = %s", [age, view.id])
    return view.id


def active(stage: Stage, customer: str, at: datetime, count: int = 2) -> None:
    """Entries of a customer."""
    drafts = [
        EntryDraft(customer=customer, at=at + timedelta(hours=number), kind="other")
        for number in range(count)
    ]
    assert stage.services.activity is not None
    stage.services.activity.record(stage.caller("billing"), drafts)


def held(stage: Stage, customer: str, *tokens: str) -> str:
    """A hold on a customer, or on some of his records."""
    draft = HoldDraft(
        customer=customer, tokens=tokens or None, reason="a claim", reference="C-1", until=None
    )
    return stage.holds.place(stage.caller("officer-1"), draft).id


def whole(stage: Stage, *tokens: str) -> list[bool]:
    """Whether each of these records is there."""
    found = dict(stage.sql("SELECT token, erased_at IS NULL FROM records"))
    return [found[token] for token in tokens]


def segments(stage: Stage, customer: str) -> int:
    """How many segments of activity a customer has."""
    ((count,),) = stage.sql(
        "SELECT count(*) FROM activity_segments WHERE customer = %s", [customer]
    )
    return int(count)


def test_what_is_past_its_time_ends(stage: Stage) -> None:
    """Of the named class alone, with an entry that says of whom, which and by what period."""
    customer = stage.customer()
    old, young = telephone(stage, customer, 1), telephone(stage, customer, 2, age=YEAR / 2)
    card = stage.card(customer)
    stage.sql("UPDATE records SET created_at = now() - %s WHERE token = %s", [OLD, card])
    with stage.told() as entries:
        run(duty(stage, telephone=YEAR))
    assert whole(stage, old, young, card) == [False, True, True]
    (entry,) = entries
    assert (entry.event, entry.customer, entry.tokens, entry.count) == (
        Event.RETENTION_ENDED,
        customer,
        (old,),
        1,
    )
    assert entry.details == {"class": "telephone", "days": 365}


def test_without_a_period_everything_is_kept(stage: Stage) -> None:
    """As by the shipped policy, which names none."""
    assert stage.worker.policy.retention == {}
    customer = stage.customer()
    old = telephone(stage, customer, 3, age=100 * YEAR)
    active(stage, customer, datetime(2001, 2, 3, tzinfo=UTC))
    with stage.told() as entries:
        run(duty(stage))
        assert stage.worker.retention is not None
        run(stage.worker.retention)
    assert whole(stage, old) == [True]
    assert segments(stage, customer) == 1
    assert entries == []
    assert duty(stage).plan() == []


def test_time_counts_from_the_last_change(stage: Stage) -> None:
    """What a customer changed last month is not old."""
    customer = stage.customer()
    token = telephone(stage, customer, 4)
    changes = stage.services.modifications
    assert changes is not None
    draft = ModificationDraft(
        customer=customer, ticket=name("T"), data_class="telephone", value="+49 30 901877"
    )
    (view,) = changes.open(stage.caller("support"), [draft])
    assert not isinstance(view, Exception)
    changes.confirm(stage.caller("support"), view.id, how="called_back")
    changes.apply(stage.caller("support-2"), view.id)
    run(duty(stage, telephone=YEAR))
    assert whole(stage, token) == [True]
    stage.sql("UPDATE record_versions SET replaced_at = now() - %s WHERE token = %s", [OLD, token])
    run(duty(stage, telephone=YEAR))
    assert whole(stage, token) == [False]
    # The masks of older versions went along.
    ((left,),) = stage.sql("SELECT count(*) FROM record_versions WHERE token = %s", [token])
    assert left == 0


def test_what_is_changed_meanwhile_is_left(stage: Stage) -> None:
    """A record is locked as the version that was seen, or not at all."""
    customer = stage.customer()
    token = telephone(stage, customer, 5)
    use_case = duty(stage, telephone=YEAR)
    seen = DueRecord(
        bucket=0, token=token, customer=customer, data_class="telephone", version=9, held=False
    )
    with use_case._uow.begin() as tx:
        assert use_case._end(tx, [seen]) == 0
        assert use_case._end(tx, []) == 0
    assert whole(stage, token) == [True]


def test_a_hold_keeps_what_is_past_its_time(stage: Stage) -> None:
    """The whole customer, or one record of his; the plan says so, and does nothing."""
    one, other = stage.customer(), stage.customer()
    kept, free = telephone(stage, one, 6), telephone(stage, other, 7)
    part = telephone(stage, other, 8)
    hold = held(stage, one)
    held(stage, other, part)
    use_case = duty(stage, telephone=YEAR)
    plan = [Planned(data_class="telephone", keep=YEAR, due=1, held=2)]
    assert use_case.plan() == plan
    assert whole(stage, kept, free, part) == [True, True, True]
    run(use_case)
    assert whole(stage, kept, free, part) == [True, False, True]
    stage.holds.release(stage.caller("officer-2"), hold, reason="settled")
    run(use_case)
    assert whole(stage, kept, part) == [False, True]


def test_windows_follow_each_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small, all records are looked at; a worker that is told to stop does."""
    monkeypatch.setattr(module, "WINDOW", 2)
    customer = stage.customer()
    tokens = [telephone(stage, customer, number) for number in range(10, 17)]
    use_case = duty(stage, telephone=YEAR)
    stop = threading.Event()
    stop.set()
    use_case.run(stop)
    assert all(whole(stage, *tokens))
    assert [each.due for each in use_case.plan()] == [7]
    run(use_case)
    assert not any(whole(stage, *tokens))


def test_a_month_of_activity_is_dropped(stage: Stage) -> None:
    """When all of it is past its time, with its partition; the next month stays."""
    customer = stage.customer()
    active(stage, customer, datetime(2011, 3, 1, tzinfo=UTC))
    recent = datetime.now(UTC) - timedelta(days=300)
    active(stage, customer, recent)
    use_case = duty(stage, activity_log=YEAR)
    (planned,) = use_case.plan()
    assert (planned.due, planned.held, planned.data_class) == (1, 0, DataClass.ACTIVITY_LOG)
    with stage.told() as entries:
        run(use_case)
    assert [(entry.event, entry.count, entry.details) for entry in entries if entry.count] == [
        (
            Event.RETENTION_ENDED,
            1,
            {"class": "activity_log", "days": 365, "month": "2011-03", "held": 0},
        )
    ]
    assert segments(stage, customer) == 1
    assert stage.sql("SELECT to_regclass('activity_segments_201103')") == [(None,)]


def test_a_held_customer_keeps_his_month(stage: Stage) -> None:
    """The others' segments go; his are listed, revealed and rotated as before; then he goes."""
    one, other = stage.customer(), stage.customer()
    at = datetime(2012, 12, 5, tzinfo=UTC)
    active(stage, one, at)
    active(stage, other, at)
    hold = held(stage, one)
    use_case = duty(stage, activity_log=YEAR)
    (planned,) = use_case.plan()
    assert (planned.due, planned.held) == (1, 1)
    with stage.told(Event.RETENTION_ENDED) as entries:
        run(use_case)
        run(use_case)
    told = [entry for entry in entries if entry.details["month"] == "2012-12"]
    assert [(entry.count, entry.details["held"]) for entry in told] == [(1, 1)]
    assert (segments(stage, one), segments(stage, other)) == (1, 0)
    log = stage.services.activity
    assert log is not None
    page = log.page(
        stage.caller("support"), one, begin=at, end=at + timedelta(days=1), cursor=None, limit=9
    )
    grant = stage.granted(standing(customer=one, classes=("activity_log",)))
    (value,) = stage.revealed(stage.token(grant.id), page.items[0].segment)
    assert isinstance(value, list)
    assert len(value) == 2
    # The month that was exchanged takes entries on.
    active(stage, other, at)
    run(use_case)
    stage.holds.release(stage.caller("officer-2"), hold, reason="settled")
    run(use_case)
    assert segments(stage, one) == 0
    assert stage.sql("SELECT to_regclass('activity_segments_201212')") == [(None,)]


def test_a_hold_waits_for_a_month_that_is_being_dropped(stage: Stage) -> None:
    """Committed before, it counts; after, there is nothing left that it could keep."""
    customer = stage.customer()
    active(stage, customer, datetime(2013, 5, 5, tzinfo=UTC))
    with stage.database.connect("vault_worker") as link:
        link.autocommit = False
        link.execute("SELECT * FROM drop_activity_month('2013-05-01', '365 days')")
        thread = threading.Thread(target=held, args=(stage, customer))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        link.rollback()
        thread.join()
    run(duty(stage, activity_log=YEAR))
    assert segments(stage, customer) == 1


def test_a_month_that_is_in_use_waits_for_the_next_round(stage: Stage) -> None:
    """Nobody queues behind it; a worker that is told to stop drops none."""
    customer = stage.customer()
    active(stage, customer, datetime(2014, 5, 5, tzinfo=UTC))
    use_case = duty(stage, activity_log=YEAR)
    stop = threading.Event()
    stop.set()
    use_case.run(stop)
    with stage.superuser() as link:
        link.autocommit = False
        link.execute("LOCK TABLE activity_segments IN ACCESS SHARE MODE")
        run(use_case)
        assert segments(stage, customer) == 1
        link.rollback()
    run(use_case)
    assert segments(stage, customer) == 0
    # Another worker has dropped it since: nothing to tell of.
    assert Retention._told("activity_log", YEAR) == {"class": "activity_log", "days": 365}
    assert duty(stage, telephone=YEAR)._drop(date(2014, 5, 1)) == 0


@pytest.mark.parametrize(
    ("month", "keep"),
    [("2013-05-02", "365 days"), ("2013-05-01", "0 days"), ("2026-11-01", "365 days")],
)
def test_no_worker_drops_what_is_not_past(stage: Stage, month: str, keep: str) -> None:
    """The function refuses what is no month, is kept for no time, or is not over for so long."""
    with stage.database.connect("vault_worker") as link, pytest.raises(psycopg.Error):
        link.execute("SELECT * FROM drop_activity_month(%s, %s)", [month, keep])


def test_a_month_ends_before_it_is_over_for_its_time(stage: Stage) -> None:
    """Counted from the first moment of the next month."""
    del stage
    keep = timedelta(days=30)
    for month, following in (
        (date(2026, 11, 1), datetime(2026, 12, 1, tzinfo=UTC)),
        (date(2026, 12, 1), datetime(2027, 1, 1, tzinfo=UTC)),
    ):
        assert module._over(month, keep, following + keep)
        assert not module._over(month, keep, following + keep - timedelta(microseconds=1))


def test_choices_and_communications_are_classes_like_others(stage: Stage) -> None:
    """A choice of service past its time ends as a record does."""
    customer = stage.customer()
    services: Any = stage.services.services
    draft = ChoiceDraft(value={"service": "mail", "since": "2001-01-01"})
    (view,) = services.record(stage.caller("billing"), customer, [draft]).results
    stage.sql("UPDATE records SET created_at = now() - %s WHERE token = %s", [OLD, view.id])
    run(duty(stage, service_choice=YEAR, communication=YEAR))
    assert whole(stage, view.id) == [False]
