"""`vault-service worker`: what the service does by itself, round after round, until it is stopped.

Each duty has a thread of its own, so that one that takes long or fails keeps no other waiting. Any
number of workers may run: each duty sees to it by locked rows that nothing is done twice, and a
round that dies is undone by the database. A dependency that is away is waited for, never a reason
to end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from types import FrameType
from typing import Final

import click
import structlog

from keys.errors import KeysError
from vault_service import hardening, logs, memory, settings
from vault_service.bootstrap.process import build
from vault_service.cli.commands import PlainCommand
from vault_service.cli.session import session
from vault_service.errors import ServiceError, SettingsError
from vault_service.ledger.faults import LogError
from vault_service.services.duties import Duty
from vault_service.services.lifecycle import Lifecycle
from vault_service.services.log_keeper import LogKeeper
from vault_service.settings import LogFormat, ProcessRole

# After a failure the pauses grow, up to the duty's period or this, whichever is longer.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0

_log = structlog.get_logger("vault_service.worker")


@click.command("worker", cls=PlainCommand)
@click.option(
    "--period",
    type=click.FloatRange(0.1, 3600),
    help="Seconds between rounds of every duty [each its own].",
)
@click.option("--once", is_flag=True, help="Do what is due and end.")
def worker(period: float | None, *, once: bool) -> None:
    """Run the worker: ends what has expired, and keeps the log. Settings as for `serve`.

    Stops on SIGTERM.
    """
    run(period=period, once=once)


def run(*, period: float | None = None, once: bool = False) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        period: seconds between rounds of every duty; each its own, if None.
        once: one round of each and no more.

    Raises:
        SettingsError: something that the worker needs is not set.
        ServiceError, KeysError: with `once`, a dependency failed.
    """
    memory.give_back_what_is_free()
    hardening.forbid_dumps()
    found = settings.load(overrides={"process_role": ProcessRole.WORKER.value})
    logs.configure(
        process="worker",
        level=found.log_level,
        form=LogFormat.JSON if session().as_json else found.log_format,
        file=found.log_file,
    )
    services = build(found)
    try:
        if services.log_keeper is None:
            raise SettingsError("this process role has nothing to do by itself")
        if once:
            for duty in services.duties:
                duty.run(threading.Event())
            services.log_keeper.finish()
            return
        duties = [
            duty if period is None else replace(duty, period=period) for duty in services.duties
        ]
        memory.leave_alone_what_stays()
        Loop(duties, services.lifecycle, services.log_keeper).run(stop_on_signals())
    finally:
        services.close()


def _keep_log(keeper: LogKeeper, stop: threading.Event) -> None:
    """Keep the log; whatever ends this thread ends the process, so that it is started anew."""
    try:
        keeper.run(stop)
    except BaseException:
        _log.exception("alarm", alarm="ledger_keeper_failed")
        os.kill(os.getpid(), signal.SIGTERM)
        raise


def _close_log(keeper: LogKeeper) -> None:
    """Bring what this process wrote last, its end included, under a signed head."""
    try:
        keeper.finish()
    except (ServiceError, KeysError, LogError) as error:
        _log.warning("ledger not closed", code=error.code)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; a round under way is finished first."""
    stop = threading.Event()

    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    return stop


class Loop:
    """The duties, each in a thread of its own, between the start and the end that are told."""

    def __init__(self, duties: Sequence[Duty], lifecycle: Lifecycle, keeper: LogKeeper) -> None:
        self._duties = duties
        self._lifecycle = lifecycle
        self._keeper = keeper

    def run(self, stop: threading.Event) -> None:
        """Go round until `stop` is set; rounds under way are finished."""
        _log.info("worker started", count=len(self._duties))
        # The log has a thread of its own: it must not wait for a round that takes long.
        keeping = threading.Thread(target=_keep_log, args=(self._keeper, stop), name="ledger")
        keeping.start()
        if self._tell_start(stop):
            threads = [
                threading.Thread(target=_rounds, args=(duty, stop), name=duty.name)
                for duty in self._duties
            ]
            for thread in threads:
                thread.start()
            stop.wait()
            for thread in threads:
                thread.join()
            self._tell_end()
        keeping.join()
        _close_log(self._keeper)
        _log.info("worker stopped")

    def _tell_start(self, stop: threading.Event) -> bool:
        """Have the ledger know of this worker before it does anything; False when stopped first."""
        failures = 0
        while not stop.is_set():
            try:
                self._lifecycle.started()
            except (ServiceError, KeysError) as error:
                failures += 1
                pause = _pause(failures, _LONGEST_PAUSE)
                _log.warning("start not recorded", code=error.code, attempt=failures, seconds=pause)
                stop.wait(pause)
            else:
                return True
        return False

    def _tell_end(self) -> None:
        try:
            self._lifecycle.stopped()
        except ServiceError as error:
            _log.warning("stop not recorded", code=error.code)


def _rounds(duty: Duty, stop: threading.Event) -> None:
    """Do one duty until `stop` is set; its failures delay nobody but itself."""
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        pause = duty.period
        try:
            duty.run(stop)
        except (ServiceError, KeysError, LogError) as error:
            failures += 1
            pause = _pause(failures, duty.period)
            _log.warning(
                "round failed", duty=duty.name, code=error.code, attempt=failures, seconds=pause
            )
        except Exception:  # noqa: BLE001 -- a fault here must not end the others, the log's keeping
            failures += 1
            pause = _pause(failures, max(duty.period, _LONGEST_PAUSE))
            _log.exception("alarm", alarm="duty_failed", duty=duty.name, attempt=failures)
        else:
            failures = 0
        stop.wait(max(0.0, pause - (time.monotonic() - began)))


def _pause(failures: int, longest: float) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(longest, _FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
