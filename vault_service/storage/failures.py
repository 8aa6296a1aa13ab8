"""Turns what the driver raises into what a use case is told.

A driver's error quotes rows: its DETAIL names keys and whole rows with their sealed columns, and
an encoding error holds the text that would not encode. So nothing of it is carried along but the
SQLSTATE and the name of the constraint, and callers raise the translation outside of the handler,
so that not even its context leads back.
"""

from __future__ import annotations

from typing import Final

import psycopg
from sqlalchemy import exc as sqlalchemy_errors

from vault_service.errors import ServiceError, Unavailable
from vault_service.services.ports import RowRefused
from vault_service.services.record_ports import TokenTaken

# Seconds that a caller is asked to wait: a crashed server restarts in a few, a rival transaction
# is over in a fraction of one.
RETRY_OUTAGE: Final = 2.0
RETRY_CONTENTION: Final = 0.5

DATABASE_UNAVAILABLE: Final = "database_unavailable"
COMMIT_UNKNOWN: Final = "commit_unknown"

# SQLSTATE classes: https://www.postgresql.org/docs/current/errcodes-appendix.html
_DATA: Final = ("22", "23")
# Connection, insufficient resources, operator intervention, system error.
_OUTAGE: Final = ("08", "53", "57", "58")
_SERIALIZATION: Final = frozenset({"40001", "40P01"})
_OUTCOME_UNKNOWN: Final = "40003"
_LOCK_TIMEOUT: Final = "55P03"
_READ_ONLY: Final = "25006"
_RECORD_NAME: Final = "pk_records"

# What the driver's entry points may raise: its own errors, and Python's when a parameter will not
# turn into bytes.
DRIVER_ERRORS: Final = (
    psycopg.Error,
    sqlalchemy_errors.SQLAlchemyError,
    UnicodeError,
    OverflowError,
)


class Contended(Unavailable):
    """A rival transaction made this one fail before its commit; it may simply be tried again."""

    code = DATABASE_UNAVAILABLE


def translate(error: BaseException) -> Exception:
    """Return what to raise for an error of a statement that was not a commit."""
    if isinstance(error, UnicodeError | OverflowError):
        return RowRefused("a parameter does not fit its column")
    if isinstance(error, sqlalchemy_errors.TimeoutError):
        return unavailable("all connections to the database are in use", RETRY_CONTENTION)
    if isinstance(error, sqlalchemy_errors.DBAPIError) and error.orig is not None:
        error = error.orig
    if not isinstance(error, psycopg.Error):
        return unavailable("the database cannot be reached")
    return _translate_driver(error)


def translate_commit(error: BaseException, *, connected: bool) -> Exception:
    """Return what to raise for an error of the statements that end with COMMIT.

    While the connection stands, an error is the server's word that it rolled back. Once it is
    lost, nobody here knows whether the commit happened.
    """
    state = getattr(error, "sqlstate", None)
    if connected and state is not None and state != _OUTCOME_UNKNOWN:
        return translate(error)
    return commit_unknown()


def commit_unknown() -> Unavailable:
    """Return the error that says that a commit may or may not have happened."""
    return Unavailable(
        "the database did not confirm the commit", code=COMMIT_UNKNOWN, retry_after=RETRY_OUTAGE
    )


def unavailable(detail: str, retry_after: float = RETRY_OUTAGE) -> Unavailable:
    """Return the error that says that the database cannot serve now."""
    return Unavailable(detail, code=DATABASE_UNAVAILABLE, retry_after=retry_after)


def demoted(error: BaseException) -> bool:
    """Tell whether the server has become read-only: the primary is elsewhere now."""
    return getattr(error, "sqlstate", None) == _READ_ONLY


def _translate_driver(error: psycopg.Error) -> Exception:
    state = error.sqlstate
    if state is None:
        return _without_state(error)
    if state.startswith(_DATA):
        return _refused(state, error.diag.constraint_name)
    if state in _SERIALIZATION:
        return Contended("a rival transaction came first", retry_after=RETRY_CONTENTION)
    if state == _LOCK_TIMEOUT:
        return unavailable("a rival transaction holds the row", RETRY_CONTENTION)
    if state.startswith(_OUTAGE) or state == _READ_ONLY:
        return unavailable(f"the database cannot serve now (sqlstate {state})")
    return ServiceError(f"the database refused a statement (sqlstate {state})")


def _without_state(error: psycopg.Error) -> Exception:
    """Judge an error that the driver made itself."""
    if isinstance(error, psycopg.DataError):
        return RowRefused("a parameter does not fit its column")
    return unavailable("the connection to the database was lost")


def _refused(state: str, constraint: str | None) -> Exception:
    if constraint == _RECORD_NAME:
        return TokenTaken("a token on offer is in use")
    return RowRefused(f"the database refused a row (sqlstate {state}, {constraint})")
