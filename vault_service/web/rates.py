"""Rates: how often a caller may ask, counted in memory, for each process on its own.

The limits are there to stop a caller that has run wild and to make guessing loud; they are no
quota. With several processes a caller may get up to as many times the limit. A window begins with
the first request in it and ends a minute later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vault_service.errors import RateLimited
from vault_service.settings import Settings

WINDOW_SECONDS: Final = 60.0
_UNLIMITED: Final = 0


class Rate(StrEnum):
    """What is counted apart."""

    CALLS = "calls"
    REVEALS = "reveals"
    REFUSED = "refused"
    VISITS = "visits"


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a limit is left; `reset` is in seconds from now."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """The headers that tell a caller."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


@dataclass(slots=True)
class _Window:
    """What one caller has done since its window began."""

    ends: float
    count: int = 0


class Rates:
    """Counts and refuses. Thread-safe.

    Args:
        settings: the limits.
        clock: monotonic seconds.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limits = {
            Rate.CALLS: settings.rate_limit,
            Rate.REVEALS: settings.reveal_rate_limit,
            Rate.REFUSED: settings.refused_rate_limit,
            Rate.VISITS: settings.usage_rate_limit,
        }
        self._lock = threading.Lock()
        self._windows: dict[tuple[Rate, str], _Window] = {}
        self._sweep_at = clock() + WINDOW_SECONDS

    def count(self, rate: Rate, who: str) -> Standing | None:
        """Count one call; what is left, or None where there is no limit.

        Raises:
            RateLimited: the limit is used up.
        """
        limit = self._limits[rate]
        if limit == _UNLIMITED:
            return None
        now = self._clock()
        with self._lock:
            if now >= self._sweep_at:
                self._sweep(now)
            window = self._windows.get((rate, who))
            if window is None or window.ends <= now:
                window = self._windows[rate, who] = _Window(now + WINDOW_SECONDS)
            window.count += 1
            left, reset = limit - window.count, max(1, round(window.ends - now))
        if left < 0:
            raise RateLimited("too many requests; slow down", retry_after=reset)
        return Standing(limit, left, reset)

    def spent(self, rate: Rate, who: str) -> float | None:
        """Seconds until `who` may ask again, or None if it may now; counts nothing."""
        limit = self._limits[rate]
        now = self._clock()
        window = self._windows.get((rate, who))
        if limit == _UNLIMITED or window is None or window.ends <= now or window.count < limit:
            return None
        return max(1.0, window.ends - now)

    def _sweep(self, now: float) -> None:
        """Forget the windows that are over, so that addresses that never come back take no room."""
        self._sweep_at = now + WINDOW_SECONDS
        self._windows = {
            name: window for name, window in self._windows.items() if window.ends > now
        }
