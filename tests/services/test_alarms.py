"""Alarms: told by log, metric, ledger and webhook, by the transaction that finds them."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest

from tests.support.whole import Stage, name, present
from vault_service.ledger.entries import Event
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.storage import engine
from vault_service.storage.unit_of_work import SqlUnitOfWork
from vault_service.web import metrics

HOUR = timedelta(hours=1)


@pytest.fixture
def alarms(stage: Stage) -> Alarms:
    """The worker's."""
    return present(stage.worker.alarms)


@pytest.fixture
def uow(alarms: Alarms) -> SqlUnitOfWork:
    """The worker's units of work."""
    found = alarms._uow
    assert isinstance(found, SqlUnitOfWork)
    return found


def test_an_alarm_is_told_in_every_way(
    stage: Stage, alarms: Alarms, uow: SqlUnitOfWork, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line, the counter, the entry and the message say the same."""
    alarm = name("made_up").replace("-", "_")
    caller = stage.caller("support")
    with stage.told() as told, uow.begin() as tx:
        assert alarms.raise_in(
            tx, alarm, caller, principal=caller.principal.id, key=caller.key_id, observed=7, limit=5
        )
    (entry,) = told
    assert (entry.event, entry.reason) == (Event.ALARM_RAISED, alarm)
    assert entry.details == {"alarm": alarm, "severity": "high", "observed": 7, "limit": 5}
    assert entry.actor.id == entry.principal == caller.principal.id
    assert alarm in capsys.readouterr().out
    ((body,),) = stage.sql(
        "SELECT body FROM webhook_outbox WHERE convert_from(body, 'UTF8') LIKE %s", [f"%{alarm}%"]
    )
    message = json.loads(bytes(body))
    assert message["type"] == "alarm.raised"
    assert message["data"] == {
        "alarm": alarm,
        "entry": entry.id,
        "severity": "high",
        "observed": 7,
        "limit": 5,
        "principal": caller.principal.id,
    }
    with uow.begin(read_only=True) as tx:
        assert tx.alarms.counts()[alarm] == 1


def test_an_alarm_keeps_quiet_until_its_time_is_over_or_it_was_taken_back(
    stage: Stage, alarms: Alarms, uow: SqlUnitOfWork
) -> None:
    """For its subject alone; what happens after the end is an alarm again."""
    alarm = name("made_up").replace("-", "_")

    def raised(subject: str) -> bool:
        with uow.begin() as tx:
            return alarms.raise_in(tx, alarm, "worker", subject=subject, quiet=HOUR)

    assert [raised("a"), raised("a"), raised("b"), raised("a")] == [True, False, True, False]
    with stage.told() as told, uow.begin() as tx:
        alarms.clear_in(tx, alarm, "worker", subject="a", key="records-card")
    assert [(entry.event, entry.key) for entry in told] == [(Event.ALARM_CLEARED, "records-card")]
    assert [raised("a"), raised("b")] == [True, False]
    stage.sql("UPDATE alarms SET quiet_until = now() WHERE name = %s", [alarm])
    assert [raised("a"), raised("b"), raised("b")] == [True, True, False]
    with uow.begin(read_only=True) as tx:
        assert tx.alarms.counts()[alarm] == 5


@pytest.mark.parametrize("role", ["vault_ingest", "vault_reveal", "vault_console", "vault_worker"])
def test_no_process_can_have_alarms_keep_quiet_beforehand(
    stage: Stage, alarms: Alarms, uow: SqlUnitOfWork, role: str
) -> None:
    """Whoever is inside one may write the row; a quiet time that nobody asked for is not obeyed."""
    always, seldom = (name("made_up").replace("-", "_") for _ in range(2))
    with stage.superuser() as link:
        link.execute(f"SET ROLE {role}".encode())
        for alarm in (always, seldom):
            link.execute(
                "INSERT INTO alarms (name, subject, quiet_until) VALUES (%s, '', 'infinity')",
                [alarm],
            )
    with uow.begin() as tx:
        assert alarms.raise_in(tx, always, "worker")
        assert alarms.raise_in(tx, seldom, "worker", quiet=HOUR)
    stage.sql(
        "UPDATE alarms SET quiet_until = now() + interval '1 second' WHERE name = %s", [always]
    )
    with uow.begin() as tx:
        assert alarms.raise_in(tx, always, "worker")
        assert not alarms.raise_in(tx, seldom, "worker", quiet=HOUR)


def test_of_many_at_once_one_is_raised(alarms: Alarms, uow: SqlUnitOfWork) -> None:
    """The row decides, so the pager rings once."""
    alarm = name("made_up").replace("-", "_")
    raised: list[bool] = []
    start = threading.Barrier(6)

    def run() -> None:
        start.wait()
        with uow.begin() as tx:
            raised.append(alarms.raise_in(tx, alarm, "worker", quiet=HOUR))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(raised) == [False] * 5 + [True]


def test_an_alarm_outside_of_a_unit_of_work_gets_its_own(stage: Stage, alarms: Alarms) -> None:
    """And its entry."""
    alarm = name("made_up").replace("-", "_")
    with stage.told() as told:
        alarms.raise_now(alarm, "worker", severity="critical")
    assert [(entry.reason, entry.details["severity"]) for entry in told] == [(alarm, "critical")]


def test_without_a_database_the_log_holds_the_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever found it goes on with the answer that it owes."""
    gone = SqlUnitOfWork(
        engine.create("postgresql://a:b@127.0.0.1:1/c", application_name="tests", pool_size=1)
    )
    Alarms(uow=gone, audit=Audit(process_role="worker", uow=gone)).raise_now("lost_alarm", "worker")
    assert "lost_alarm" in capsys.readouterr().out
    gone.close()


def test_an_alarm_is_counted() -> None:
    """By the process that finds it."""
    metrics._count_alarm("counted_alarm")
    assert b'vault_alarms_total{alarm="counted_alarm"} 1.0' in metrics.exposition(None)
