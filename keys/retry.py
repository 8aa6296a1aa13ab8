"""Time budgets, pauses between tries, and the circuit breaker in front of Vault.

On-line work must be answered within 3 s, so a call has one deadline for everything it does,
logging in and trying again included. A Vault that failed several times in a row is left alone
but for one probe a second: callers then fail at once instead of queueing, and the first probe
that succeeds opens the way for all.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from keys.errors import Outage, VaultUnavailable

CONNECT_TIMEOUT = 0.5  # fact 13: seconds; hvac's default is 30
READ_TIMEOUT = 2.0
ON_LINE_BUDGET = 2.5  # seconds; leaves the service half a second of its 3
JOB_BUDGET = 30.0
PATIENT_FROM = 5.0  # a budget from here on waits for an open breaker instead of failing
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
BREAKER_THRESHOLD = 3
BREAKER_PAUSE = 1.0

_jitter = random.SystemRandom()


class Deadline:
    """A point in time by which a call is over."""

    __slots__ = ("_end", "patient")

    def __init__(self, budget: float) -> None:
        self._end = time.monotonic() + budget
        self.patient = budget >= PATIENT_FROM

    def remaining(self) -> float:
        """Return the seconds left; zero when over."""
        return max(0.0, self._end - time.monotonic())

    def sleep_before(self, attempt: int) -> bool:
        """Pause before another try, if there is time for the pause and the try.

        Full jitter: after an outage the callers come back spread out, not in step.

        Args:
            attempt: how many tries have failed.

        Returns:
            False where the time does not suffice; then nothing was waited.
        """
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 10))
        return self.sleep(_jitter.uniform(0.0, longest))

    def sleep(self, seconds: float) -> bool:
        """Pause for so long, or return False if the deadline would not leave a try after it."""
        if self.remaining() <= seconds + _FIRST_PAUSE:
            return False
        time.sleep(seconds)
        return True


class Breaker:
    """Counts failures in a row; when there are too many, admits one caller per pause."""

    def __init__(
        self,
        *,
        threshold: int = BREAKER_THRESHOLD,
        pause: float = BREAKER_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_probe = 0.0

    def admit(self) -> None:
        """Let the caller through.

        Raises:
            VaultUnavailable: open; `retry_after` is when the next probe goes.
        """
        if self._failures < self._threshold:  # the usual case needs no lock: reading is atomic
            return
        with self._lock:
            if self._failures < self._threshold:
                return
            now = self._clock()
            if now < self._next_probe:
                raise VaultUnavailable(
                    "vault failed just now and is given a pause",
                    reason=Outage.BREAKER_OPEN,
                    retry_after=max(0.1, self._next_probe - now),
                )
            # Setting the time, rather than a flag, means a probe that never returns blocks nobody.
            self._next_probe = now + self._pause

    def succeeded(self) -> None:
        """Vault answered, whatever it said."""
        if self._failures:
            with self._lock:
                self._failures = 0

    def failed(self) -> bool:
        """Vault did not serve; return True if this opened the breaker."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._threshold:
                self._next_probe = self._clock() + self._pause
            return self._failures == self._threshold
