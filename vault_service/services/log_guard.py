"""No ledger, no plaintext: how far the log is behind, and what follows from it.

An entry is promised by the commit that writes it, and kept when a signed checkpoint covers it.
The longest broken promise is what counts. One question a second answers for a whole process, so a
reveal pays nothing for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from vault_service.errors import Unavailable
from vault_service.services.health import Finding
from vault_service.services.ports import UnitOfWork
from vault_service.services.recent_failure import RecentFailure

# Seconds after which somebody is called.
ALARM_AFTER: Final = 30.0
# Seconds for which an answer is believed; it grows older by itself meanwhile.
KEEP: Final = 1.0
BEHIND: Final = "ledger_behind"

_log = structlog.get_logger(__name__)


class LogGuard:
    """Knows how far the log is behind. Thread-safe.

    Args:
        uow: any database role of the service.
        stop_after: seconds after which nothing is disclosed; half of them raise an alarm, and
            `ALARM_AFTER` in any case.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        uow: UnitOfWork,
        *,
        stop_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uow = uow
        self._alarm_after = min(ALARM_AFTER, stop_after / 2)
        self._stop_after = stop_after
        self._clock = clock
        self._lock = threading.Lock()
        self._failure = RecentFailure(clock)
        self._asked: float | None = None
        self._behind = 0.0
        self._alarmed = False

    def behind(self) -> float:
        """Seconds since the oldest entry was written that no signed checkpoint covers, or 0.

        Raises:
            Unavailable: the database is.
        """
        with self._lock:
            now = self._clock()
            if self._asked is None or now - self._asked >= KEEP:
                self._failure.raise_again()
                with self._failure.noted(), self._uow.begin(read_only=True) as tx:
                    self._behind = tx.log.behind()
                self._asked = now
                self._watch()
            return self._behind

    def require(self) -> None:
        """Return if something may be disclosed.

        Raises:
            Unavailable: the log is too far behind (code `ledger_behind`), or the database is gone.
        """
        if self.behind() >= self._stop_after:
            raise Unavailable(
                "the ledger is not being written; nothing is disclosed meanwhile",
                code=BEHIND,
                retry_after=5.0,
            )

    def check(self) -> None:
        """The readiness check.

        Raises:
            Finding: the log is too far behind.
            Unavailable: the database is.
        """
        behind = self.behind()
        if behind >= self._stop_after:
            raise Finding(
                f"entries have waited {behind:.0f} s for the ledger; is a worker running?"
            )

    def _watch(self) -> None:
        late = self._behind >= self._alarm_after
        if late and not self._alarmed:
            _log.error("alarm", alarm=BEHIND, seconds=round(self._behind))
        self._alarmed = late
