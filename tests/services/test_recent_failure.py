"""A failure that is shared is sat through by one, and told to those who come in the same moment."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

import pytest

from vault_service.errors import Unavailable
from vault_service.services.log_guard import LogGuard
from vault_service.services.ports import Transaction
from vault_service.services.recent_failure import KEEP, RecentFailure
from vault_service.storage import engine
from vault_service.storage.unit_of_work import SqlUnitOfWork


def test_a_failure_counts_for_a_moment() -> None:
    """Each who comes gets an error of his own; later it is tried again."""
    moment = [100.0]
    failure = RecentFailure(lambda: moment[0])
    failure.raise_again()
    noted = Unavailable("the database cannot be reached")
    with pytest.raises(Unavailable), failure.noted():
        raise noted
    told = []
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            failure.raise_again()
        told.append(caught.value)
    assert told[0] is not told[1]
    assert {each.code for each in told} == {noted.code}
    moment[0] += KEEP + 0.01
    failure.raise_again()
    with pytest.raises(Unavailable):
        failure.raise_again(within=KEEP + 1)
    with failure.noted():
        pass
    failure.raise_again(within=KEEP + 1)


def test_those_who_are_served_together_wait_once_for_a_database_that_is_gone() -> None:
    """One thread asks for all of them, one after the other."""
    made = engine.create(
        "postgresql://vault_ingest@127.0.0.1:1/vault", application_name="x", pool_size=1
    )
    asked = []

    class Counted(SqlUnitOfWork):
        def begin(self, *, read_only: bool = False) -> AbstractContextManager[Transaction]:
            asked.append(read_only)
            return super().begin(read_only=read_only)

    uow = Counted(made)
    guard = LogGuard(uow, stop_after=60)
    began = time.monotonic()
    for _ in range(64):
        with pytest.raises(Unavailable):
            guard.require()
    # Once for as long as a failure counts; the first may have taken its time.
    assert len(asked) <= 1 + (time.monotonic() - began) / KEEP
