"""Rates: how often a caller may ask, counted in memory, for each process on its own.

The limits are there to stop a caller that has run wild and to make guessing loud; they are no
quota. With several processes a caller may get up to as many times the limit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from vault_service.errors import RateLimited
from vault_service.settings import Settings

_UNLIMITED: Final = 0


class Rate(StrEnum):
    """What is counted apart."""

    CALLS = "calls"
    REVEALS = "reveals"
    REFUSED = "refused"


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


class Rates:
    """Counts and refuses. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._items = {
            rate: RateLimitItemPerMinute(amount, namespace=rate)
            for rate, amount in (
                (Rate.CALLS, settings.rate_limit),
                (Rate.REVEALS, settings.reveal_rate_limit),
                (Rate.REFUSED, settings.refused_rate_limit),
            )
            if amount != _UNLIMITED
        }

    def count(self, rate: Rate, who: str) -> Standing | None:
        """Count one call; what is left, or None where there is no limit.

        Raises:
            RateLimited: the limit is used up.
        """
        item = self._items.get(rate)
        if item is None:
            return None
        allowed = self._limiter.hit(item, who)
        stats = self._limiter.get_window_stats(item, who)
        reset = max(1, round(stats.reset_time - time.time()))
        if not allowed:
            raise RateLimited("too many requests; slow down", retry_after=reset)
        return Standing(item.amount, stats.remaining, reset)

    def spent(self, rate: Rate, who: str) -> float | None:
        """Seconds until `who` may ask again, or None if it may now; counts nothing."""
        item = self._items.get(rate)
        if item is None or self._limiter.test(item, who):
            return None
        return max(1.0, self._limiter.get_window_stats(item, who).reset_time - time.time())
