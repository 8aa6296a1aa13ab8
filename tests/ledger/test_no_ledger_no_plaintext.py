"""If the ledger is not written, nothing is disclosed (E5)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keys.errors import VaultDenied
from tests.support.log_stage import LogStage, entry
from tests.support.whole import refusal
from vault_service.errors import Unavailable
from vault_service.ledger.entries import Event
from vault_service.ledger.faults import LogError
from vault_service.services.health import Finding
from vault_service.services.log_guard import LogGuard
from vault_service.services.log_keeper import LogKeeper
from vault_service.services.sequencing import Sequencer


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """The time."""
        self.now += 2.0
        return self.now


class RefusingSigner:
    """Vault's key, while Vault refuses to sign."""

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self._signer = sequencer._signer

    def sign(self, message: bytes) -> tuple[int, bytes]:
        """Refuse."""
        raise VaultDenied(f"vault denied {len(message)} bytes")

    def public_keys(self) -> dict[int, bytes]:
        """The keys, as ever."""
        return dict(self._signer.public_keys())


@pytest.fixture
def empty(log: LogStage) -> Iterator[LogStage]:
    """The log with nothing waiting, before and after."""
    log.keeper.finish()
    yield log
    log.keeper.finish()


def _age(log: LogStage, seconds: int) -> None:
    """Make what waits in the outbox older."""
    log.sql("UPDATE ledger_outbox SET created_at = created_at - %s * interval '1 s'", (seconds,))


def test_e5_an_entry_that_waits_too_long_stops_disclosure(empty: LogStage) -> None:
    """At 60 seconds readiness fails and a reveal is refused; in the log, both recover."""
    guard = LogGuard(empty.ingest, stop_after=60, clock=Clock())
    guard.require()
    guard.check()
    empty.write(entry(empty.rng))
    guard.require()
    _age(empty, 59)
    guard.require()
    _age(empty, 2)
    refused = refusal(guard.require, Unavailable)
    assert refused.code == "ledger_behind"
    with pytest.raises(Finding):
        guard.check()
    empty.keeper.finish()
    guard.require()
    guard.check()


def test_e5_an_entry_that_is_not_signed_counts_as_one_that_waits(empty: LogStage) -> None:
    """Vault refusing to sign stops disclosure as surely as a sequencer that died."""
    signer = RefusingSigner(empty.sequencer)
    sequencer = Sequencer(uow=empty.uow, signer=signer, origin="elsewhere")
    empty.write(entry(empty.rng))
    _age(empty, 61)
    assert sequencer.sequence() is not None
    with pytest.raises(VaultDenied):
        sequencer.sign()
    guard = LogGuard(empty.ingest, stop_after=60, clock=Clock())
    assert refusal(guard.require, Unavailable).code == "ledger_behind"
    empty.sequencer.sign()
    guard.require()


def test_e5_the_worker_raises_the_alarm_once_and_takes_it_back(empty: LogStage) -> None:
    """At 30 seconds an alarm is an entry of the ledger; when it is over, another says so."""
    keeper = LogKeeper(
        sequencer=empty.sequencer, uow=empty.uow, alarms=empty.keeper._alarms, alarm_after=30
    )
    empty.write(entry(empty.rng))
    _age(empty, 31)
    keeper.step()
    keeper.step()
    keeper.step()
    keeper.finish()
    rows = empty.sql(
        "SELECT convert_from(entry, 'UTF8')::json->>'event' FROM ledger_tail ORDER BY leaf"
    )
    events = [row[0] for row in rows]
    assert events.count(Event.ALARM_RAISED) == 1
    assert events.count(Event.ALARM_CLEARED) == 1
    assert events.index(Event.ALARM_RAISED) < events.index(Event.ALARM_CLEARED)


def test_e5_the_answer_is_believed_for_a_second(empty: LogStage) -> None:
    """A reveal asks the database at most once a second for it."""
    times = iter([0.0, 0.5, 0.9, 1.1])
    guard = LogGuard(empty.ingest, stop_after=60, clock=lambda: next(times))
    assert guard.behind() == 0
    empty.write(entry(empty.rng))
    _age(empty, 100)
    assert guard.behind() == 0
    assert guard.behind() == 0
    assert guard.behind() > 90


def test_e5_a_log_that_contradicts_itself_is_not_continued(empty: LogStage) -> None:
    """A changed edge stops the sequencer, and with it, after its time, disclosure."""
    empty.fill(3)
    before = empty.sql("SELECT hashes FROM ledger_edge WHERE level = 0")[0][0]
    empty.sql(
        "UPDATE ledger_edge SET hashes = set_byte(hashes, 0, 255 - get_byte(hashes, 0))"
        " WHERE level = 0"
    )
    try:
        empty.write(entry(empty.rng))
        for sequencer in (empty.sequencer, empty.fresh_sequencer()):
            with pytest.raises(LogError):
                sequencer.sequence()
        assert empty.sql("SELECT count(*) FROM ledger_outbox") == [(1,)]
    finally:
        empty.sql("UPDATE ledger_edge SET hashes = %s WHERE level = 0", (before,))


def test_the_log_keeps_the_name_that_it_has(empty: LogStage) -> None:
    """Another issuer in the settings does not rename a log that was signed under its name."""
    empty.fill(1)
    origin = empty.head().origin
    other = Sequencer(uow=empty.uow, signer=empty.sequencer._signer, origin="other.example/log")
    empty.write(entry(empty.rng))
    other.sequence()
    head = other.sign()
    assert head is not None
    assert head.origin == origin
