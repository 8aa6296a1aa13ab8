"""`vault-service worker`: what the service does by itself, round after round, until it is stopped.

Any number of workers may run: a locked row lets one at a time do a round, and a round that dies
is undone by the database. A dependency that is away is waited for, never a reason to end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Final

import click
import structlog

from keys.errors import KeysError
from vault_service import bootstrap, hardening, logs, settings
from vault_service.cli.commands import PlainCommand
from vault_service.cli.session import session
from vault_service.errors import ServiceError, SettingsError
from vault_service.ledger.faults import LogError
from vault_service.services.housekeeping import Housekeeping, Swept
from vault_service.services.lifecycle import Lifecycle
from vault_service.services.log_keeper import LogKeeper
from vault_service.settings import LogFormat, ProcessRole

PERIOD: Final = 30.0
# After a failure the pauses grow up to the period.
_FIRST_PAUSE: Final = 1.0

_log = structlog.get_logger("vault_service.worker")


@click.command("worker", cls=PlainCommand)
@click.option(
    "--period",
    type=click.FloatRange(0.1, 3600),
    default=PERIOD,
    help="Seconds between rounds [30].",
)
@click.option("--once", is_flag=True, help="Do what is due and end.")
def worker(period: float, *, once: bool) -> None:
    """Run the worker: ends what has expired. Settings as for `serve`; stops on SIGTERM."""
    run(period=period, once=once)


def run(*, period: float = PERIOD, once: bool = False) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingsError: something that the worker needs is not set.
        ServiceError, KeysError: with `once`, a dependency failed.
    """
    hardening.forbid_dumps()
    found = settings.load(overrides={"process_role": ProcessRole.WORKER.value})
    logs.configure(
        process="worker",
        level=found.log_level,
        form=LogFormat.JSON if session().as_json else found.log_format,
        file=found.log_file,
    )
    services = bootstrap.build(found)
    try:
        if services.housekeeping is None or services.log_keeper is None:
            raise SettingsError("this process role has nothing to do by itself")
        if once:
            _rounds(services.housekeeping, threading.Event())
            services.log_keeper.finish()
            return
        Loop(services.housekeeping, services.lifecycle, services.log_keeper, period=period).run(
            stop_on_signals()
        )
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
    """Rounds and the pauses between them."""

    def __init__(
        self,
        housekeeping: Housekeeping,
        lifecycle: Lifecycle,
        keeper: LogKeeper,
        *,
        period: float,
    ) -> None:
        self._housekeeping = housekeeping
        self._lifecycle = lifecycle
        self._keeper = keeper
        self._period = period
        self._announced = False
        self._failures = 0

    def run(self, stop: threading.Event) -> None:
        """Go round until `stop` is set."""
        _log.info("worker started", seconds=self._period)
        # The log has a thread of its own: it must not wait for a round that takes long.
        keeping = threading.Thread(target=_keep_log, args=(self._keeper, stop), name="ledger")
        keeping.start()
        while not stop.is_set():
            began = time.monotonic()
            pause = self._round(stop)
            stop.wait(max(0.0, pause - (time.monotonic() - began)))
        if self._announced:
            self._tell_end()
        keeping.join()
        _close_log(self._keeper)
        _log.info("worker stopped")

    def _round(self, stop: threading.Event) -> float:
        """Do what is due; returns the seconds until the next round."""
        try:
            if not self._announced:
                self._lifecycle.started()
                self._announced = True
            _rounds(self._housekeeping, stop)
        except (ServiceError, KeysError) as error:
            self._failures += 1
            pause = min(self._period, _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))
            _log.warning("round failed", code=error.code, attempt=self._failures, seconds=pause)
            return pause
        self._failures = 0
        return self._period

    def _tell_end(self) -> None:
        try:
            self._lifecycle.stopped()
        except ServiceError as error:
            _log.warning("stop not recorded", code=error.code)


def _rounds(housekeeping: Housekeeping, stop: threading.Event) -> None:
    """Sweep until nothing more is due, or somebody else is at it."""
    while not stop.is_set():
        swept = housekeeping.sweep()
        if swept is None:
            return
        _tell(swept)
        if not swept.more:
            return


def _tell(swept: Swept) -> None:
    if swept.tokens or swept.grants or swept.answers:
        _log.info(
            "swept",
            tokens=swept.tokens,
            grant=swept.grants,
            count=swept.tokens + swept.grants + swept.answers,
        )
