"""The worker's rounds: when others are at it, when much is due, when nothing answers."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from vault_service.cli.worker import Loop
from vault_service.errors import Unavailable
from vault_service.services.housekeeping import BATCH, Housekeeping, Swept
from vault_service.services.lifecycle import Lifecycle
from vault_service.services.log_keeper import LogKeeper


class Sweeps:
    """Housekeeping that gives these outcomes in turn and then stops the worker."""

    def __init__(self, stop: threading.Event, outcomes: list[Swept | Exception | None]) -> None:
        self.stop = stop
        self.outcomes = outcomes

    def sweep(self) -> Swept | None:
        """The next outcome."""
        outcome = self.outcomes.pop(0)
        if not self.outcomes:
            self.stop.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


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


def run(outcomes: list[Any], told: Told, *, period: float = 0.01) -> list[Any]:
    """Run the worker through the outcomes; returns those that are left."""
    stop = threading.Event()
    sweeps = Sweeps(stop, outcomes)
    keeper = cast("LogKeeper", Keeps())
    loop = Loop(cast("Housekeeping", sweeps), cast("Lifecycle", told), keeper, period=period)
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return sweeps.outcomes


def test_rounds_go_on_after_failures() -> None:
    """A dependency that is away costs a pause, and the round is done when it is back."""
    told = Told()
    assert run([Unavailable("away"), Unavailable("away"), Swept(tokens=1)], told) == []
    assert told.events == ["started", "stopped"]


def test_the_start_is_told_before_anything_is_done() -> None:
    """Nothing is swept before the ledger knows of the worker."""
    told = Told(failures=2)
    assert run([Swept(), None], told) == []
    assert told.events == ["started", "stopped"]


def test_a_full_batch_is_followed_at_once() -> None:
    """While batches are full there is no pause between them."""
    assert run([Swept(tokens=BATCH), Swept(grants=BATCH), Swept()], Told(), period=3600) == []


@pytest.mark.parametrize("outcome", [None, Swept()])
def test_a_stop_is_told(outcome: Swept | None) -> None:
    """Also a worker that found another at work says when it ends."""
    told = Told()
    run([outcome], told)
    assert told.events == ["started", "stopped"]
