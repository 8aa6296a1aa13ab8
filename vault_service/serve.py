"""Serving HTTP: one Granian parent that starts, watches and stops the workers.

The parent reads the settings, takes secrets out of the environment and hands the frozen settings
to its workers; it holds no connection and answers nothing. A worker builds the use cases and the
application. On SIGTERM or SIGINT no new request is taken, those under way are finished, and what
is not done after `stop_seconds` is cut off.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from keys.errors import KeysError, VaultUnavailable
from vault_service import hardening, logs, memory
from vault_service.errors import ServiceError, SettingsError, Unavailable
from vault_service.settings import Settings, forget_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from vault_service.bootstrap.process import Services
    from vault_service.services.lifecycle import Lifecycle

# Granian's own handlers would write past the filter of `logs`.
_LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {"level": "INFO"}, "granian.access": {"level": "WARNING"}},
}
_METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
# How long a predecessor that was killed may take until its workers have let go of the port.
_PORT_SECONDS: Final = 5.0
# How long a database that starts at the same time is waited for, and how often it is asked.
_START_SECONDS: Final = 30.0
_START_PAUSE: Final = 0.5
# Threads beyond those at work, which turn away what would have to wait (`web.overload`). One does
# it as fast as it can be done; more contend for the interpreter with those at work: at four times
# the load 0.84 of the best rate are served with one, 0.75 with two, 0.68 with eight (measured).
SPARE_THREADS: Final = 1
# How long a connection may say nothing, between requests and inside a head. A little longer than
# the 60 s for which proxies keep theirs, so that it is not closed under a request on its way.
_SILENCE_MILLISECONDS: Final = 65_000


def configure_logs(settings: Settings, process: str) -> None:
    """Log as the settings say, under the name of this process."""
    logs.configure(
        process=process,
        level=settings.log_level,
        form=settings.log_format,
        file=settings.log_file,
    )


def _load(settings: Settings, parent: int) -> WSGIApplication:
    """Build the application in a worker of Granian, before it takes requests.

    Raises:
        SystemExit: it cannot be built; the log says why.
    """
    # Until Granian sets its own, a worker would have the parent's handlers, which do nothing here:
    # a stop, or the parent's death, while it is being built would go unheard.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    hardening.end_with_parent(parent)
    try:
        return build(settings)
    except Exception as error:
        # The worker's outermost edge: beyond it an exception would be printed with its message.
        told = {"reason": str(error)} if isinstance(error, ServiceError | KeysError) else {}
        log = structlog.get_logger("vault_service.serve")
        log.critical("cannot start", **told, exc_info=error)
        raise SystemExit(1) from None


def build(settings: Settings) -> WSGIApplication:
    """Shield this process and build the application in it.

    Raises:
        ServiceError, KeysError: something that it needs is missing or not as it should be.
    """
    hardening.forbid_dumps()
    forget_headers()
    configure_logs(settings, "serve")
    # Not at the top: the parent never serves, so it loads neither SQL nor Vault clients, and the
    # metrics must find their folder in the environment when they are imported.
    from vault_service import app  # noqa: PLC0415
    from vault_service.bootstrap import process  # noqa: PLC0415

    services = process.build(settings)
    # A worker leaves through multiprocessing's exit, which runs no `atexit` function.
    Finalize(None, partial(leave, services), exitpriority=10)
    check_keys(services)
    announce(services.lifecycle)
    application = app.create_app(services, settings)
    memory.leave_alone_what_stays()
    return application


def check_keys(services: Services) -> None:
    """Refuse to start with keys that are not as declared; a Vault that is away is no reason.

    Raises:
        KeyNotReady: a key could be exported, deleted or made by mistake; the process does not
            serve. While it runs, the same finding makes it not ready.
    """
    try:
        services.check_keys()
    except VaultUnavailable as error:
        structlog.get_logger("vault_service.serve").warning("keys not checked", code=error.code)


def announce(lifecycle: Lifecycle) -> None:
    """Write the start into the ledger, waiting a while for a database that is starting too.

    Raises:
        Unavailable: the database did not come; the process does not serve.
    """
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            lifecycle.started()
        except Unavailable as error:
            if time.monotonic() >= until:
                raise
            structlog.get_logger("vault_service.serve").warning("waiting", code=error.code)
            time.sleep(_START_PAUSE)
        else:
            return


def leave(services: Services) -> None:
    """Write the end into the ledger, if the database is there, and close every connection."""
    try:
        services.lifecycle.stopped()
    except Unavailable as error:
        structlog.get_logger("vault_service.serve").warning("stop not recorded", code=error.code)
    finally:
        services.close()


def _check_port(settings: Settings) -> None:
    """Wait until the port is free, and fail if it is not.

    The workers share the port by SO_REUSEPORT, so that a second server on the same port would
    not fail but take a part of the requests.

    Raises:
        SettingsError: something else listens there, or the address is not of this host.
    """
    until = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            found = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in found[:1]:
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(address)
        except OSError as error:
            if time.monotonic() >= until:
                raise SettingsError(
                    "VAULT_SERVICE_HOST and VAULT_SERVICE_PORT name an address that is taken,"
                    " or not of this host",
                    hint="choose another port, or stop what listens there",
                ) from error
            time.sleep(0.1)
        else:
            return


@contextmanager
def _metrics_folder(settings: Settings) -> Iterator[Settings]:
    """Settings with an empty folder for the counters of several workers."""
    folder = settings.metrics_dir
    own = folder is None
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="vault-metrics-"))
    else:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in folder.glob("*.db"):
            stale.unlink(missing_ok=True)
    os.environ[_METRICS_VARIABLE] = str(folder)
    try:
        yield dataclasses.replace(settings, metrics_dir=folder)
    finally:
        if own:
            shutil.rmtree(folder, ignore_errors=True)


def _server(settings: Settings) -> MPServer:
    return MPServer(
        "vault_service.wsgi:create",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=settings.threads + SPARE_THREADS,
        backlog=settings.backlog,
        # Granian counts connections, idle ones included: with few, callers that keep theirs open
        # would shut the others out (measured: 8 idle ones stopped a worker that allowed 8).
        backpressure=settings.backlog,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_SILENCE_MILLISECONDS),
        websockets=False,
        log_dictconfig=_LOGGING,
        log_level=LogLevels.info,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=settings.stop_seconds,
    )


def _worth_telling(record: logging.LogRecord) -> bool:
    """Leave out one remark: threads beyond the cores are meant, they wait for Vault and SQL."""
    return not str(record.msg).startswith("Configuration allows spawning")


def serve(settings: Settings) -> None:
    """Serve until told to stop; returns after a graceful stop.

    Raises:
        SettingsError: the address cannot be served.
        SystemExit: workers died again and again.
    """
    hardening.forbid_dumps()
    configure_logs(settings, "serve")
    log = structlog.get_logger("vault_service.serve")
    if not settings.production:
        log.warning("not for production", setting="env", reason="development settings")
    _check_port(settings)
    with _metrics_folder(settings) as complete:
        server = _server(complete)
        logs.quiet(("_granian", "granian.access"))
        logging.getLogger("_granian").addFilter(_worth_telling)
        log.info(
            "serving",
            host=settings.host,
            port=settings.port,
            role=settings.process_role,
            workers=settings.workers,
            threads=settings.threads,
        )
        server.serve(target_loader=partial(_load, complete, os.getpid()), wrap_loader=False)
        log.info("stopped")
