"""`vault-service up`: the whole vault on one machine, in the foreground, for trying it out.

One process that starts PostgreSQL, Vault, the service and its worker, watches them, and stops them
in the opposite order. It is the only thing that runs all of these together; a real deployment runs
`serve` and `worker` under its own supervisor, against its own servers, and never this.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console

from keys.errors import KeysError
from migrations.runner import MigrationError
from vault_service import settings
from vault_service.cli.first_run import ensure_principals
from vault_service.cli.log_view import LogView
from vault_service.cli.sample_load import load_sample
from vault_service.cli.stack import Stack
from vault_service.cli.state import StateFolder
from vault_service.cli.supervised import (
    ChildLost,
    Supervised,
    log_file,
    make_child,
    parting_words,
)
from vault_service.cli.welcome import welcome
from vault_service.client import ClientError
from vault_service.embedded.files import EmbeddedError, rotate_log
from vault_service.errors import Conflict, ServiceError

HOST: Final = "127.0.0.1"
_PROCESSES: Final = {"serve": ("serve",), "worker": ("worker",)}
_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.25
_TIDY_SECONDS: Final = 60.0
_LOG_BYTES: Final = 8 * 1024 * 1024


def up(*, state: Path, port: int, fresh: bool, sample: bool, console: Console | None = None) -> int:
    """Run the vault until SIGINT or SIGTERM asks it to stop.

    Args:
        state: the folder that keeps everything between runs.
        port: where the service listens, on the loopback interface.
        fresh: throw away what the folder holds, if it is ours, and begin anew.
        sample: load the sample, if it is not loaded yet.
        console: where to print.

    Returns:
        0, when it was asked to stop.

    Raises:
        ServiceError: it cannot start, or something that it needs died; most say a hint.
    """
    folder = StateFolder(state)
    with folder.held(), _signals() as ignore:
        try:
            run = _Run(folder, port=port, console=console or Console())
            try:
                run.start(fresh=fresh, sample=sample)
                run.watch()
            finally:
                ignore()
                run.stop()
        except KeyboardInterrupt:
            return 0
        except (EmbeddedError, KeysError, MigrationError) as error:
            hint = getattr(error, "hint", None)
            raise ServiceError(str(error), code=error.code, hint=hint) from error
    return 0


class _Run:
    """One run of the vault."""

    def __init__(self, folder: StateFolder, *, port: int, console: Console) -> None:
        self._began = time.monotonic()
        self._folder = folder
        self._port = port
        self._base_url = f"http://{HOST}:{port}"
        self._console = console
        self._stack = Stack(
            folder,
            environment=settings.declared_environment() or "development",
            announce=partial(self._tell, style="bold yellow"),
        )
        self._processes: dict[str, Supervised] = {}
        logs = {name: log_file(name, folder.path) for name in _PROCESSES}
        self._view = LogView(logs, show=self._tell)

    def start(self, *, fresh: bool, sample: bool) -> None:
        """Start everything; returns when the service is ready."""
        self._clean(fresh=fresh)
        self._require_free_port()
        self._stack.start()
        file, decided = self._stack.write_settings(host=HOST, port=self._port)
        environment = settings.for_children(file, decided=decided)
        # A used vault has its principals; the service starts while their file is looked after.
        if self._stack.used:
            self._launch(environment)
            credentials = self._credentials(environment)
        else:
            credentials = self._credentials(environment)
            self._launch(environment)
        self._wait_until_ready()
        if sample:
            self._load_sample(credentials)
        welcome(
            self._console,
            credentials=credentials,
            file=self._folder.path / "credentials.json",
            seconds=time.monotonic() - self._began,
        )
        self._view.start()

    def watch(self) -> None:
        """Look after everything for as long as it runs.

        Raises:
            ChildLost: a server died, or a process of the service died too often.
        """
        tidied = time.monotonic()
        while True:
            for server in (self._stack.postgres, self._stack.vault):
                if not server.child.running:
                    raise ChildLost(parting_words(server.child))
            for process in self._processes.values():
                process.look()
            if time.monotonic() - tidied > _TIDY_SECONDS:
                self._stack.vault.tidy()
                tidied = time.monotonic()
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Stop everything, the service first, so that requests under way are finished."""
        if self._processes:
            self._tell("Stopping; requests under way are finished first.")
        for process in self._processes.values():
            process.child.stop()
        self._stack.stop()
        self._view.close()

    def _clean(self, *, fresh: bool) -> None:
        for name in _PROCESSES:
            make_child(name, self._folder.path).stop_orphan()
        self._stack.stop_orphans()
        if fresh:
            self._folder.clear()
        self._folder.folder("logs")
        for name in _PROCESSES:
            rotate_log(log_file(name, self._folder.path), limit=_LOG_BYTES, keep=2)

    def _require_free_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self._port))
            except OSError as error:
                raise Conflict(
                    f"port {self._port} cannot be used: {error.strerror}",
                    code="port_unusable",
                    hint="choose another with --port",
                ) from error

    def _launch(self, environment: dict[str, str]) -> None:
        for name, arguments in _PROCESSES.items():
            self._processes[name] = Supervised(
                name,
                arguments,
                state=self._folder.path,
                environment=environment,
                tell=partial(self._tell, style="red"),
            )
            self._processes[name].launch()

    def _credentials(self, environment: dict[str, str]) -> dict[str, Any]:
        # Loaded here, because a second's work is better done while the service starts.
        from vault_service.bootstrap.process import build  # noqa: PLC0415

        services = build(settings.load(dict(environment)))
        try:
            if services.principals is None:
                raise ServiceError("this process role has no principals")
            credentials = ensure_principals(
                services.principals, self._folder.path / "credentials.json", self._base_url
            )
        finally:
            services.close()
        self._stack.first_run_done()
        return dict(credentials)

    def _load_sample(self, credentials: dict[str, Any]) -> None:
        try:
            load_sample(self._folder.path, credentials, tell=self._tell)
        except ClientError as error:
            # The vault is whole without it, and the next start tries again.
            self._tell(f"The sample was not loaded: {error}", style="red")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while (reasons := self._unready()) is not None:
            for process in self._processes.values():
                if not process.child.running:
                    raise ChildLost(parting_words(process.child))
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the service did not get ready: {reasons}",
                    code="not_ready",
                    hint=f"its log is {log_file('serve', self._folder.path)}",
                )
            time.sleep(_POLL_SECONDS)

    def _unready(self) -> str | None:
        """Why the service is not ready, or None when it is."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                response = connection.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                return type(error).__name__
        if response.status == http.client.OK:
            return None
        try:
            return json.dumps(json.loads(text))
        except ValueError:
            return f"status {response.status}"

    def _tell(self, text: str, *, style: str | None = None) -> None:
        # A terminal that went away is no reason to stop.
        with contextlib.suppress(OSError):
            self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _signals() -> Iterator[Any]:
    """Turn SIGINT, SIGTERM and SIGHUP into one KeyboardInterrupt; later ones are ignored.

    Yields:
        A function that ignores them from then on, for a stop that must not be cut short.
    """
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    }

    def ignore() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    def asked(_number: int, _frame: FrameType | None) -> None:
        ignore()
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, asked)
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
