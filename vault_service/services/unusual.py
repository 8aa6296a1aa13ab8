"""Unusual use: what an honest caller does now and then, and a dishonest one all the time.

Counted by each process for itself, over a sliding hour, in memory: a restart forgets, and several
processes see several parts. It is a smoke detector beside the hard limits (grants, budgets,
rates), and must cost nothing. Each rule can be said in a sentence, so that whoever is called
knows what happened:

- `refused_reveals`: one principal was refused so many reveals within an hour.
- `missed_searches`: one principal looked for so many values within an hour that nobody has.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from vault_service.services.alarms import Alarms
from vault_service.services.context import Caller

REFUSED_REVEALS: Final = "refused_reveals"
MISSED_SEARCHES: Final = "missed_searches"
# Seconds that are looked back upon, and for which the alarm then keeps quiet.
WINDOW: Final = 3600.0
# Callers that are kept in mind; who comes beyond them takes the place of who did least lately.
MOST_CALLERS: Final = 10_000


class Unusual:
    """Counts one kind of thing by principal. Thread-safe.

    Args:
        alarm: what it is called.
        limit: how many within the window raise it; 0 never does.
        alarms: raises it.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        alarm: str,
        *,
        limit: int,
        alarms: Alarms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alarm = alarm
        self._limit = limit
        self._alarms = alarms
        self._clock = clock
        self._lock = threading.Lock()
        # Principal -> the moments of the newest `limit` things, in the order of their last one.
        self._seen: dict[str, deque[float]] = {}

    def note(self, caller: Caller, count: int = 1) -> None:
        """Count so many of a caller, and raise the alarm where they are too many."""
        if not self._limit or not count:
            return
        principal = caller.principal.id
        now = self._clock()
        with self._lock:
            moments = self._seen.pop(principal, None) or deque(maxlen=self._limit)
            moments.extend([now] * min(count, self._limit))
            self._seen[principal] = moments
            if len(self._seen) > MOST_CALLERS:
                del self._seen[next(iter(self._seen))]
            full = len(moments) == self._limit and now - moments[0] <= WINDOW
            if full:
                moments.clear()
        if full:
            self._alarms.raise_now(
                self._alarm,
                caller,
                severity="medium",
                subject=principal,
                quiet=timedelta(seconds=WINDOW),
                observed=self._limit,
                limit=self._limit,
                principal=principal,
            )
