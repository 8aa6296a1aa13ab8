"""Budgets end in time, and a failing Vault is left alone but for one probe."""

from __future__ import annotations

import time

import pytest

from keys.errors import Outage, VaultUnavailable
from keys.retry import Breaker, Deadline


class Clock:
    """Seconds that pass when told."""

    now = 50.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_deadline_passes() -> None:
    """Nothing remains afterwards, and never less than nothing."""
    deadline = Deadline(0.01)
    assert 0 < deadline.remaining() <= 0.01
    time.sleep(0.02)
    assert deadline.remaining() == 0


def test_a_pause_that_leaves_no_time_is_not_taken() -> None:
    """Waiting until the deadline to find it passed helps nobody."""
    started = time.monotonic()
    assert not Deadline(0.03).sleep_before(1)
    assert time.monotonic() - started < 0.03


def test_pauses_are_short_and_random() -> None:
    """Full jitter: anything from nothing to the longest pause of that attempt."""
    deadline = Deadline(10)
    started = time.monotonic()
    for _ in range(5):
        assert deadline.sleep_before(0)
    assert time.monotonic() - started < 0.5


def test_only_long_budgets_are_patient() -> None:
    """On-line calls fail at once at an open breaker; jobs wait."""
    assert not Deadline(2.5).patient
    assert Deadline(30).patient


def test_the_breaker_opens_probes_and_closes() -> None:
    """Three failures in a row open it; one caller a second is let through; a success closes it."""
    clock = Clock()
    breaker = Breaker(clock=clock)
    for opened in (False, False, True):
        breaker.admit()
        assert breaker.failed() is opened
    with pytest.raises(VaultUnavailable) as caught:
        breaker.admit()
    assert caught.value.reason is Outage.BREAKER_OPEN
    assert caught.value.retry_after == pytest.approx(1.0)

    clock.now += 1.0
    breaker.admit()  # the probe
    with pytest.raises(VaultUnavailable):
        breaker.admit()  # and nobody else
    assert breaker.failed() is False
    clock.now += 1.0
    breaker.admit()
    breaker.succeeded()
    for _ in range(10):
        breaker.admit()


def test_successes_between_failures_keep_it_closed() -> None:
    """Only failures in a row count."""
    breaker = Breaker(clock=Clock())
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
        breaker.admit()


def test_a_close_while_waiting_for_the_lock_is_seen() -> None:
    """A caller that saw it open, and finds it closed under the lock, goes through."""
    breaker = Breaker(clock=Clock())

    class Closing:
        def __enter__(self) -> None:
            breaker._failures = 0

        def __exit__(self, *_: object) -> None:
            pass

    breaker._failures = 3
    breaker._lock = Closing()  # type: ignore[assignment]  # stands where the lock stands
    breaker.admit()
