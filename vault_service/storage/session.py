"""One unit of work on one borrowed connection, in as few round trips as it can be done.

- BEGIN travels with the first statement.
- A statement whose result nobody reads waits, and travels with the next one or with COMMIT. One
  whose result is read later waits as well, until then at most.
- A read-only session has no transaction: each statement stands for itself.

So a write that asks one question and leaves an entry costs two round trips instead of five. What
waits is sent in its order, and COMMIT is skipped by the server itself when anything before it
failed. All statements of `storage` pass through here, and all failures leave as `failures` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar, cast

import psycopg
from psycopg import pq
from sqlalchemy import Engine
from sqlalchemy.pool import Pool, PoolProxiedConnection
from sqlalchemy.sql import ClauseElement

from vault_service.errors import ServiceError
from vault_service.storage import failures
from vault_service.storage.engine import PatientConnection

T = TypeVar("T")
Row = tuple[Any, ...]
Parameters = Sequence[object] | Mapping[str, object]
Cursor: TypeAlias = "psycopg.Cursor[Row]"

# The isolation that every statement here was written for, whatever the server's default is.
_BEGIN: Final = b"BEGIN ISOLATION LEVEL READ COMMITTED"
_NOW: Final = b"SELECT now()"
_COMMIT: Final = b"COMMIT"


class Asked:
    """Rows that are on their way: called for, they are there, after a trip if none went before."""

    __slots__ = ("_rows", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rows: list[Row] | None = None

    def __call__(self) -> list[Row]:
        """The rows.

        Raises:
            Unavailable, RowRefused: as `Session.rows` does.
        """
        if self._rows is None:
            self._session.send()
        if self._rows is None:
            raise RuntimeError("these rows never came: the unit of work has ended, or failed")
        return self._rows

    def come(self, rows: list[Row]) -> None:
        """The session has them."""
        self._rows = rows


class Session:
    """One unit of work's connection, borrowed when the first statement needs it."""

    __slots__ = (
        "_begun",
        "_ended",
        "_engine",
        "_failed",
        "_moment",
        "_pool",
        "_proxied",
        "_read_only",
        "_waiting",
    )

    def __init__(self, engine: Engine, *, read_only: bool = False) -> None:
        self._engine = engine
        self._read_only = read_only
        self._proxied: PoolProxiedConnection | None = None
        self._pool: Pool | None = None
        self._waiting: list[tuple[bytes, Parameters, Asked | None]] = []
        self._moment: datetime | None = None
        self._begun = False
        self._failed = False
        self._ended = False

    def rows(
        self, statement: bytes, parameters: Parameters = (), *, prepare: bool | None = True
    ) -> list[Row]:
        """Run a statement, after everything that waits, and return its rows.

        Raises:
            Unavailable: the database gave no answer; nothing is done, and the unit of work lost.
            RowRefused: the statement's data break a rule of the tables.
            TokenTaken: a token on offer is in use.
        """

        def work(driver: PatientConnection) -> list[Row]:
            cursor = driver.cursor(binary=True)
            if not self._waiting and (self._read_only or self._begun):
                cursor.execute(statement, parameters, prepare=prepare)
                return _fetched(cursor)
            with driver.pipeline():
                asked = self._send_waiting(driver)
                cursor.execute(statement, parameters, prepare=prepare)
            _hand_over(asked)
            return _fetched(cursor)

        return self._attempt(work)

    def ahead(self, statement: bytes, parameters: Parameters) -> Asked:
        """Have a statement run with the next one, or when its rows are called for."""
        asked = Asked(self)
        self._waiting.append((statement, parameters, asked))
        return asked

    def send(self) -> None:
        """Run what waits.

        Raises:
            Unavailable, RowRefused: as `rows` does.
        """

        def work(driver: PatientConnection) -> None:
            with driver.pipeline():
                asked = self._send_waiting(driver)
            _hand_over(asked)

        self._attempt(work)

    def core(self, statement: ClauseElement) -> list[Row]:
        """Run a SQLAlchemy Core statement as `rows` does."""
        compiled = statement.compile(dialect=self._engine.dialect)
        return self.rows(str(compiled).encode(), compiled.params, prepare=None)

    def defer(self, statement: bytes, parameters: Parameters) -> None:
        """Have a statement run before the next one, or at the commit; its rows are not read."""
        if self._read_only:
            raise RuntimeError("a read-only unit of work writes nothing")
        self._waiting.append((statement, parameters, None))

    def autonomous(self, statement: bytes, parameters: Parameters) -> None:
        """Run a statement at once on a connection of its own, whatever becomes of this session.

        Raises:
            Unavailable: the database gave no answer.
        """
        other = Session(self._engine, read_only=True)
        try:
            other.rows(statement, parameters)
        finally:
            other.close()

    def now(self) -> datetime:
        """Return the transaction's time; in a read-only session the time of the first asking.

        Raises:
            Unavailable: the database gave no answer.
        """
        if self._moment is None:
            self.learn(self.rows(_NOW)[0][0])
        return cast("datetime", self._moment)

    def learn(self, moment: datetime) -> None:
        """Remember the transaction's time, from a statement that returned it beside its rows."""
        self._moment = moment

    def commit(self) -> None:
        """Make everything last; does nothing in a read-only or ended session.

        Raises:
            Unavailable: with code `commit_unknown` when the connection was lost under the
                commit, else as `rows` does, and nothing was written.
            ServiceError: a statement had failed and the caller went on all the same.
        """
        if self._read_only or self._ended or not (self._begun or self._waiting):
            return
        driver = self._driver()
        if self._failed or driver.pgconn.transaction_status == pq.TransactionStatus.INERROR:
            raise ServiceError("the unit of work had failed before its end")
        sent = False
        failure: Exception | None = None
        driver.doubtful = False
        try:
            with driver.pipeline():
                self._send_waiting(driver)
                sent = True
                driver.execute(_COMMIT)
        except failures.DRIVER_ERRORS as error:
            failure = self._judge(
                error,
                failures.translate_commit(error, connected=not driver.closed)
                if sent
                else failures.translate(error),
            )
        self._ended = True
        if failure is not None:
            raise failure
        if driver.doubtful:
            raise failures.commit_unknown()

    def rollback(self) -> None:
        """Undo everything; nothing can be run afterwards.

        Raises:
            Unavailable: the connection was lost, which undoes everything too.
        """
        self._waiting.clear()
        if self._begun and not self._ended:
            self._attempt(lambda driver: driver.rollback())
        self._ended = True

    def close(self) -> None:
        """Give the connection back, or away when it is of no more use. Never raises."""
        proxied, self._proxied = self._proxied, None
        self._ended = True
        if proxied is None:
            return
        # A pool that was replaced meanwhile takes connections back and never closes them.
        if self._pool is self._engine.pool and _driver(proxied).settle():
            proxied.close()
        else:
            proxied.invalidate()

    def _send_waiting(self, driver: PatientConnection) -> list[tuple[Asked, Cursor]]:
        """Put what waits into the driver's pipeline; who has asked, and where his rows will be."""
        if not self._begun and not self._read_only:
            self._begun = True
            driver.execute(_BEGIN, prepare=True)
        waiting, self._waiting = self._waiting, []
        asked = []
        for statement, parameters, asker in waiting:
            cursor = driver.cursor(binary=True)
            cursor.execute(statement, parameters, prepare=True)
            if asker is not None:
                asked.append((asker, cursor))
        return asked

    def _driver(self) -> PatientConnection:
        if self._ended:
            raise RuntimeError("the unit of work has ended")
        if self._proxied is None:
            self._pool = self._engine.pool
            self._proxied = self._engine.raw_connection()
        return _driver(self._proxied)

    def _attempt(self, work: Callable[[PatientConnection], T]) -> T:
        try:
            return work(self._driver())
        except failures.DRIVER_ERRORS as error:
            failure = self._judge(error, failures.translate(error))
        # A parameter that the driver cannot send is no failure to the server, but what was to go
        # with it has not gone.
        self._failed = True
        # Outside of the handler, so that the driver's error does not become its context.
        raise failure

    def _judge(self, error: BaseException, failure: Exception) -> Exception:
        if failures.demoted(error):
            # All its connections lead to a server that is no longer the primary.
            self._engine.dispose()
        return failure


def _fetched(cursor: Cursor) -> list[Row]:
    # Not `cursor.description`, which builds an object for each column.
    result = cursor.pgresult
    return cursor.fetchall() if result is not None and result.nfields else []


def _hand_over(asked: Sequence[tuple[Asked, Cursor]]) -> None:
    for asker, cursor in asked:
        asker.come(_fetched(cursor))


def _driver(proxied: PoolProxiedConnection) -> PatientConnection:
    # What `engine.create` has its pool connect with.
    return cast("PatientConnection", proxied.dbapi_connection)
