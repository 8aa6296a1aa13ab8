"""Connections to PostgreSQL: one pool for each database role of a process.

Every wait has an end: for a connection, for a lock, for a statement, and for a server that has
gone silent, which no timeout of the server's own can end. Checking a pooled connection costs no
round trip: a server that went away has closed the socket, and a closed socket is readable.

Sessions run in the driver's autocommit mode and write BEGIN themselves, so that it can travel
with the first statement (`session`).
"""

from __future__ import annotations

import logging
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg import conninfo, pq
from psycopg.abc import PQGen
from psycopg.types.json import set_json_loads
from sqlalchemy import Engine, create_engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from vault_service.errors import SettingsError
from vault_service.storage import arrays

T = TypeVar("T")

# A caller is answered within 3 s, whatever fails. The driver rounds a connect timeout below 2 s
# up to 2 s.
CONNECT_TIMEOUT_S: Final = 2
POOL_TIMEOUT_S: Final = 1.0
LOCK_TIMEOUT_MS: Final = 2_000
STATEMENT_TIMEOUT_MS: Final = 2_500
# Beyond the statement timeout: a server that is alive has answered by then.
PATIENCE_S: Final = 2.8
# Half-open TCP connections: found out after this long without an acknowledgement.
TCP_USER_TIMEOUT_MS: Final = 2_500
# So that connections wander back after a failover, and the server's memory per backend is freed.
RECYCLE_S: Final = 1_800
_WARNING: Final = "01000"
_POOLED: Final = "postgresql+psycopg://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What a deployment may need to set differently.

    Attributes:
        prepare: keep prepared statements; off behind a pooler in transaction mode.
        statement_timeout_ms: a statement's longest run; a worker's jobs may take longer.
        patience_s: after this long without an answer the server counts as gone.
    """

    prepare: bool = True
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS
    patience_s: float = PATIENCE_S


class PatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a server that does not answer."""

    patience = PATIENCE_S
    # Set by a warning of the server's: that somebody ended its wait for the standbys, so that a
    # commit it goes on to report is not on them.
    doubtful = False

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait as the driver does, but never for longer than `patience` seconds.

        Raises:
            OperationalError: the time is up; the connection is closed, because whatever the
                server may still send answers a question that nobody asks any more.
        """
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None and not isinstance(error, psycopg.errors.PipelineAborted):
                self.pgconn.finish()
            raise

    def settle(self) -> bool:
        """Roll back whatever is open; tell whether the connection can serve again."""
        if self.pgconn.transaction_status == pq.TransactionStatus.IDLE:
            return True
        try:
            self.rollback()
        except psycopg.Error:
            self.pgconn.finish()
        return self.pgconn.transaction_status == pq.TransactionStatus.IDLE

    def heed(self, notice: psycopg.errors.Diagnostic) -> None:
        """Note the server's warnings; registered as the connection's notice handler."""
        self.doubtful = self.doubtful or notice.sqlstate == _WARNING


def create(
    url: str, *, application_name: str, pool_size: int, tuning: Tuning | None = None
) -> Engine:
    """Return an engine for one database role; it connects when it is first used.

    Args:
        url: a libpq URL; several hosts are tried in turn for the one that takes writes.
        application_name: what the server's own views show for these connections.
        pool_size: most connections at once; as many as threads that use it.
        tuning: what this deployment sets differently.

    Raises:
        SettingsError: the URL cannot be read; it is not quoted, since it may hold a password.
    """
    tuning = tuning or Tuning()
    parameters = _parameters(url, application_name, tuning)
    logging.getLogger("psycopg").addFilter(_withhold)

    def connect() -> PatientConnection:
        connection = PatientConnection.connect(
            autocommit=True, prepare_threshold=5 if tuning.prepare else None, **parameters
        )
        connection.patience = tuning.patience_s
        set_json_loads(msgspec.json.decode, connection)
        arrays.register(connection.adapters)
        connection.add_notice_handler(connection.heed)
        return connection

    engine = create_engine(
        _POOLED,
        creator=connect,
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_recycle=RECYCLE_S,
        # The connection used last is the one whose server-side caches are warm.
        pool_use_lifo=True,
        # Sessions end their transaction themselves; the pool need not ask again.
        pool_reset_on_return=None,
        hide_parameters=True,
        use_native_hstore=False,
    )
    event.listen(engine, "checkout", _refuse_if_closed)
    return engine


def _parameters(url: str, application_name: str, tuning: Tuning) -> dict[str, Any]:
    address: Mapping[str, Any] | None = None
    try:
        address = conninfo.conninfo_to_dict(url.replace(_POOLED, "postgresql://", 1))
    except psycopg.ProgrammingError:
        address = None
    if address is None:
        raise SettingsError("a database url cannot be read")
    options = (
        f"-c statement_timeout={tuning.statement_timeout_ms} -c lock_timeout={LOCK_TIMEOUT_MS}"
        " -c timezone=UTC -c client_min_messages=warning"
        # A plan is made once for a connection, perhaps while the tables are empty, and must still
        # be right when they are large. All joins here are look-ups by key from a short list, so
        # what reads a whole table is discouraged; where there is no other way it is still taken.
        " -c plan_cache_mode=force_generic_plan"
        " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
    )
    return {
        "target_session_attrs": "read-write",
        "keepalives_idle": 5,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
        "connect_timeout": CONNECT_TIMEOUT_S,
        **address,
        "application_name": application_name,
        "client_encoding": "UTF8",
        "options": f"{address.get('options') or ''} {options}".strip(),
    }


def _refuse_if_closed(
    connection: psycopg.Connection[Any],
    _entry: ConnectionPoolEntry,
    _proxy: PoolProxiedConnection,
) -> None:
    """Have the pool open another connection in place of one that the server has left.

    Raises:
        DisconnectionError: nothing is expected on an idle connection; what lies there is the
            end of the stream, or the server's last words before it.
    """
    if connection.closed:
        raise exc.DisconnectionError("the connection is closed")
    poller = select.poll()
    poller.register(connection.pgconn.socket, select.POLLIN)
    if poller.poll(0):
        raise exc.DisconnectionError("the server left the connection")


def _withhold(record: logging.LogRecord) -> bool:
    """Keep the driver's own log lines from quoting a server's error, which may quote a row."""
    record.args = tuple(
        type(argument).__name__ if isinstance(argument, BaseException) else argument
        for argument in (record.args if isinstance(record.args, tuple) else ())
    )
    record.exc_info = None
    return True
