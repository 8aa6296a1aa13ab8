"""What is told of Vault's keys: versions, ages, what lies under each, and when one is too old."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keys import declared
from keys.errors import KeyNotReady
from tests.support.faults import rebuilt
from tests.support.whole import Stage
from vault_service.errors import Forbidden
from vault_service.ledger.entries import Event
from vault_service.services.key_status import KeyStatusView
from vault_service.services.tokenization import TokenizeItem

KEY = "records-contact"
STOP = threading.Event()


@pytest.fixture(autouse=True)
def clean(stage: Stage) -> None:
    """Values and counts of other stories are out of the way."""
    stage.without_records(KEY)
    stage.sql("DELETE FROM rotations")
    stage.sql("DELETE FROM key_census")


def status(stage: Stage, who: str = "auditor", key: str = KEY) -> KeyStatusView:
    """One key as it is told of."""
    return next(each for each in stage.key_status.overview(stage.caller(who)) if each.name == key)


def mail(stage: Stage, value: str) -> str:
    """The token of an e-mail address."""
    (view,) = stage.tokenize(
        TokenizeItem(data_class="email_address", customer=stage.customer(), value=value)
    )
    return view.id


def test_every_declared_key_is_told_of(stage: Stage) -> None:
    """With its version, its age and when it is due, save where Vault tells none."""
    found = stage.key_status.overview(stage.caller("operator"))
    assert {each.name for each in found} == {spec.name for spec in declared.load().keys}
    for each in found:
        assert each.exists
        assert each.version
        told = each.purpose != "fingerprint"
        assert (each.created is not None, each.due is not None) == (told, told)
        assert (each.age_days, each.overdue) == (0 if told else None, False)
        assert each.counted_at is None
        assert each.wrapped == {}


@pytest.mark.parametrize("who", ["billing", "requester", "officer-1"])
def test_operators_and_auditors_read_keys(stage: Stage, who: str) -> None:
    """Nobody else does; the refusal is an entry."""
    with stage.told() as entries, pytest.raises(Forbidden):
        stage.key_status.overview(stage.caller(who))
    assert [entry.details for entry in entries] == [{"action": "read_keys"}]


def test_what_lies_under_each_version_is_counted(stage: Stage) -> None:
    """By version; what contradicts itself is counted apart."""
    mail(stage, "a@example.com")
    liar = mail(stage, "b@example.com")
    stage.sql("UPDATE records SET kek_version = 1000 WHERE token = %s", [liar])
    stage.key_census.run(STOP)
    told = status(stage)
    assert told.wrapped == {0: 1, told.version: 1}
    assert told.counted_at is not None
    stage.sql("DELETE FROM records WHERE token = %s", [liar])
    stage.key_census.run(STOP)
    assert status(stage).wrapped == {told.version: 1}


def test_a_rotation_under_way_is_told(stage: Stage) -> None:
    """Until it is done."""
    view, _ = stage.rotations.start(stage.caller("operator"), KEY)
    assert status(stage).rotation == view.row.id
    assert status(stage, key="evidence").rotation is None


def test_a_missing_key_is_told(stage: Stage) -> None:
    """It is the only one of which nothing is known."""

    class Empty:
        """Vault without keys."""

        def read(self, _key: str) -> Any:
            """None is there."""
            raise KeyNotReady

    told = rebuilt(stage.key_status, keys=Empty()).overview(stage.caller("auditor"))
    assert {(each.exists, each.version, each.due, each.overdue) for each in told} == {
        (False, None, None, False)
    }


def test_an_overdue_key_is_an_alarm_once(stage: Stage) -> None:
    """Raised when it is found, not again, and taken back when the key is young."""
    (spec,) = [each for each in declared.load().keys if each.name == KEY]
    old = rebuilt(
        stage.key_census,
        specs=[replace(spec, rotate_after=timedelta(0))],
        grace=timedelta(0),
    )
    with stage.told() as raised:
        old.run(STOP)
        old.run(STOP)
    assert [(entry.event, entry.key, entry.reason) for entry in raised] == [
        (Event.ALARM_RAISED, KEY, "key_overdue")
    ]
    with stage.told() as cleared:
        stage.key_census.run(STOP)
    assert [(entry.event, entry.key) for entry in cleared] == [(Event.ALARM_CLEARED, KEY)]


def test_an_overdue_key_is_shown_as_such(stage: Stage) -> None:
    """Its period is over, whatever the alarm's grace."""
    specs = [replace(each, rotate_after=timedelta(0)) for each in declared.load().keys]
    told = rebuilt(stage.key_status, specs=specs).overview(stage.caller("auditor"))
    assert all(each.overdue for each in told if each.purpose != "fingerprint")


def test_monitoring_costs_a_look_in_fifteen_seconds(stage: Stage) -> None:
    """In between the last one is told."""
    now = [0.0]
    measuring = rebuilt(stage.key_status, clock=lambda: now[0])
    first = measuring.measured()
    stage.rotations.start(stage.caller("operator"), KEY)
    now[0] = 14.0
    assert measuring.measured() is first
    now[0] = 15.0
    (told,) = [each for each in measuring.measured() if each.name == KEY]
    assert (told.rotation is not None, told.remaining) == (True, 0)
