"""Rates: a window a minute long, for each caller and each kind of request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vault_service.errors import RateLimited
from vault_service.settings import Environment, Settings
from vault_service.web.rates import Rate, Rates


class _Clock:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.time


def _rates(folder: Path, clock: Callable[[], float], **limits: int) -> Rates:
    settings = Settings(env=Environment.DEVELOPMENT, policy_file=folder / "none.toml", **limits)
    return Rates(settings, clock=clock)


def test_a_window_fills_and_begins_anew(tmp_path: Path) -> None:
    """What is left is told; beyond it is refused until the minute is over."""
    clock = _Clock()
    rates = _rates(tmp_path, clock, rate_limit=2)
    left = []
    for _ in range(2):
        standing = rates.count(Rate.CALLS, "a")
        assert standing is not None
        left.append(standing.headers()["RateLimit-Remaining"])
        clock.time += 10
    assert left == ["1", "0"]
    with pytest.raises(RateLimited) as refused:
        rates.count(Rate.CALLS, "a")
    assert refused.value.retry_after == 40
    # Others, and other kinds, are counted apart.
    assert rates.count(Rate.CALLS, "b") is not None
    assert rates.count(Rate.REVEALS, "a") is not None
    clock.time += 40
    standing = rates.count(Rate.CALLS, "a")
    assert standing is not None
    assert (standing.limit, standing.remaining, standing.reset) == (2, 1, 60)


def test_asking_counts_nothing(tmp_path: Path) -> None:
    """Whoever has used up a limit waits for the end of the window."""
    clock = _Clock()
    rates = _rates(tmp_path, clock, refused_rate_limit=1)
    assert rates.spent(Rate.REFUSED, "x") is None
    rates.count(Rate.REFUSED, "x")
    clock.time += 59.5
    assert rates.spent(Rate.REFUSED, "x") == 1.0
    clock.time += 0.5
    assert rates.spent(Rate.REFUSED, "x") is None


def test_no_limit_counts_nothing(tmp_path: Path) -> None:
    """0 is no limit."""
    rates = _rates(tmp_path, _Clock(), rate_limit=0)
    assert [rates.count(Rate.CALLS, "a") for _ in range(3)] == [None] * 3
    assert rates.spent(Rate.CALLS, "a") is None
    assert rates._windows == {}


def test_windows_that_are_over_take_no_room(tmp_path: Path) -> None:
    """A thousand addresses that never come back are forgotten."""
    clock = _Clock()
    rates = _rates(tmp_path, clock, refused_rate_limit=5)
    for number in range(1000):
        rates.count(Rate.REFUSED, f"192.0.2.{number}")
    clock.time += 61
    rates.count(Rate.REFUSED, "192.0.2.1")
    assert len(rates._windows) == 1
