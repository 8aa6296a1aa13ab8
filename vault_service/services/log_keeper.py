"""Keeps the log going: what the worker does five times a second, and whom it calls when it cannot.

An entry gets its place within `PACE` and is under a signed head within `SIGN_EVERY` more. Between
the two, Vault is asked no oftener than that, however many entries come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from keys.errors import KeysError
from vault_service.errors import ServiceError
from vault_service.ledger.faults import LogError
from vault_service.services.alarms import Alarms
from vault_service.services.log_guard import ALARM_AFTER, BEHIND
from vault_service.services.ports import UnitOfWork
from vault_service.services.sequencing import Sequencer

# Seconds. Together below the second that ledger.md promises.
PACE: Final = 0.2
SIGN_EVERY: Final = 0.4
# After a failure: soon again, but not so soon that the log lines drown everything else.
PAUSE: Final = 1.0
THIN_EVERY: Final = 3600.0
ACTOR: Final = "sequencer"

_log = structlog.get_logger(__name__)


class LogKeeper:
    """The worker's duty towards the log. One thread at a time.

    Args:
        sequencer: does the work.
        uow: the worker's database role.
        alarms: raises the alarm.
        alarm_after: seconds after which an unsigned entry is an alarm.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        uow: UnitOfWork,
        alarms: Alarms,
        alarm_after: float = ALARM_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sequencer = sequencer
        self._uow = uow
        self._alarms = alarms
        self._alarm_after = alarm_after
        self._clock = clock
        self._signed: float | None = None
        self._thinned = clock()
        self._alarmed = False

    def run(self, stop: threading.Event) -> None:
        """Keep the log until `stop` is set; whatever fails is told and tried again."""
        while not stop.is_set():
            try:
                pause = 0.0 if self.step() else PACE
            except (ServiceError, KeysError) as error:
                _log.warning("ledger waits", code=error.code)
                pause = PAUSE
            except LogError as error:
                _log.error("alarm", alarm=error.code)
                pause = PAUSE
            stop.wait(pause)

    def step(self) -> bool:
        """One round; whether another is due at once.

        Raises:
            LogError: the stored tree contradicts itself or what was signed.
            KeysError: Vault did not sign.
            ServiceError: the database is not there.
        """
        with self._uow.begin(read_only=True) as tx:
            behind = tx.log.behind()
        self._watch(behind)
        if behind == 0:
            self._thin()
            return False
        done = self._sequencer.sequence()
        more = done is not None and done.more
        if self._signed is None or self._clock() - self._signed >= SIGN_EVERY:
            self._sequencer.sign()
            self._signed = self._clock()
        return more

    def finish(self) -> None:
        """Put what waits into the log and have it signed, before a process ends.

        Raises:
            LogError, KeysError, ServiceError: as `step` does.
        """
        while (done := self._sequencer.sequence()) is not None and done.more:
            pass
        self._sequencer.sign()

    def _watch(self, behind: float) -> None:
        """Raise the alarm, and take it back, once each."""
        late = behind >= self._alarm_after
        if late == self._alarmed:
            return
        with self._uow.begin() as tx:
            if late:
                self._alarms.raise_in(
                    tx, BEHIND, ACTOR, observed=round(behind), limit=round(self._alarm_after)
                )
            else:
                self._alarms.clear_in(tx, BEHIND, ACTOR)
        self._alarmed = late

    def _thin(self) -> None:
        if self._clock() - self._thinned >= THIN_EVERY:
            with self._uow.begin() as tx:
                tx.log.thin_checkpoints()
            self._thinned = self._clock()
