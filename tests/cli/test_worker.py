"""The worker's duties: their rounds, when one fails or takes long, when nothing answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

from vault_service.cli.worker import Loop
from vault_service.errors import Unavailable
from vault_service.services.duties import Duty
from vault_service.services.lifecycle import Lifecycle
from vault_service.services.log_keeper import LogKeeper


class Told:
    """A lifecycle that notes what it was told, failing the first times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.events: list[str] = []

    def _tell(self, event: str) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the database is away")
        self.events.append(event)

    def started(self) -> None:
        """The start."""
        self._tell("started")

    def stopped(self) -> None:
        """The end."""
        self._tell("stopped")


class Keeps:
    """A keeper of a log in which nothing happens."""

    def run(self, stop: threading.Event) -> None:
        """Until it is told to stop."""
        stop.wait()

    def finish(self) -> None:
        """Nothing is left."""


class Rounds:
    """A duty's rounds: raises these in turn, None for a round that goes well, then stops."""

    def __init__(self, *outcomes: Exception | None, then: Callable[[], None]) -> None:
        self.outcomes = list(outcomes)
        self.then = then

    def run(self, _stop: threading.Event) -> None:
        """The next outcome."""
        if not self.outcomes:
            return
        outcome = self.outcomes.pop(0)
        if not self.outcomes:
            self.then()
        if outcome is not None:
            raise outcome


def work(stop: threading.Event, told: Told, *duties: Duty) -> None:
    """Run the worker until `stop` is set."""
    loop = Loop(duties, cast("Lifecycle", told), cast("LogKeeper", Keeps()))
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    thread.join(20)
    stop.set()
    assert not thread.is_alive()


def test_rounds_go_on_after_failures() -> None:
    """A dependency that is away costs a pause, and the round is done when it is back."""
    stop, told = threading.Event(), Told()
    rounds = Rounds(Unavailable("away"), Unavailable("away"), None, then=stop.set)
    work(stop, told, Duty(name="one", period=0.01, run=rounds.run))
    assert rounds.outcomes == []
    assert told.events == ["started", "stopped"]


def test_the_start_is_told_before_anything_is_done() -> None:
    """No duty is done before the ledger knows of the worker."""
    stop, told = threading.Event(), Told(failures=2)
    known: list[bool] = []
    rounds = Rounds(None, then=lambda: (known.append(told.events == ["started"]), stop.set())[1])
    work(stop, told, Duty(name="one", period=0.01, run=rounds.run))
    assert known == [True]


def test_a_stop_before_the_start_was_told_does_nothing() -> None:
    """A worker that is stopped while the database is away does no duty and tells no end."""
    stop, told = threading.Event(), Told(failures=1_000)
    rounds = Rounds(None, then=stop.set)
    threading.Timer(0.2, stop.set).start()
    work(stop, told, Duty(name="one", period=0.01, run=rounds.run))
    assert rounds.outcomes == [None]
    assert told.events == []


def test_a_duty_that_fails_keeps_no_other_waiting() -> None:
    """A fault in one duty, even one that nobody foresaw, delays that duty only."""
    stop, told = threading.Event(), Told()
    faulty = Rounds(*[RuntimeError("a fault")] * 100, then=stop.set)
    good = Rounds(*[None] * 50, then=stop.set)
    work(
        stop,
        told,
        Duty(name="faulty", period=0.01, run=faulty.run),
        Duty(name="good", period=0.01, run=good.run),
    )
    assert good.outcomes == []
    assert len(faulty.outcomes) > 90
    assert told.events == ["started", "stopped"]


def test_a_duty_that_takes_long_keeps_no_other_waiting() -> None:
    """While one duty's round goes on, others come round; its stop is awaited."""
    stop, told = threading.Event(), Told()
    good = Rounds(*[None] * 20, then=stop.set)
    ended: list[bool] = []
    work(
        stop,
        told,
        Duty(name="long", period=0.01, run=lambda event: ended.append(event.wait(20))),
        Duty(name="good", period=0.01, run=good.run),
    )
    assert ended == [True]
    assert told.events == ["started", "stopped"]
