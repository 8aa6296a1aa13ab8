"""Units of work: what a commit promises, what a failure leaves, what leaks out of it."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
import pytest
from msgspec import structs
from sqlalchemy import Engine

from keys.data_keys import WrappedKey
from tests.storage import build
from tests.storage.build import BUCKET, Units
from tests.support.servers import Database
from vault_service.errors import ServiceError, Unavailable
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import RowRefused
from vault_service.services.record_ports import NewRecord
from vault_service.storage import engine, failures
from vault_service.storage.session import Session
from vault_service.storage.unit_of_work import SqlTransaction, SqlUnitOfWork


@contextmanager
def _engine(database: Database, role: str = "vault_ingest", **tuning: object) -> Iterator[Engine]:
    made = engine.create(
        database.url(role),
        application_name="session tests",
        pool_size=2,
        tuning=engine.Tuning(**tuning),  # type: ignore[arg-type]
    )
    yield made
    made.dispose()


def _entries(database: Database, wanted: OutboxEntry) -> int:
    with database.connect() as connection:
        return len(
            connection.execute("SELECT 1 FROM ledger_outbox WHERE id = %s", (wanted.id,)).fetchall()
        )


def _kill_all(database: Database) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_block_that_ends_commits_everything(units: Units, database: Database) -> None:
    """Also when nothing in it was ever asked for an answer."""
    entry = build.entry()
    with units.reveal.begin() as tx:
        tx.outbox.append([entry])
        assert _entries(database, entry) == 0
    assert _entries(database, entry) == 1


def test_a_block_that_raises_leaves_nothing(units: Units, database: Database) -> None:
    """Neither what was asked nor what was waiting."""
    entry, late = build.entry(), build.entry()
    with pytest.raises(LookupError), units.ingest.begin() as tx:  # noqa: PT012 - a block's end is part of it
        tx.outbox.append([entry])
        tx.customers.insert([(BUCKET, build.name("cus"), False)])
        tx.outbox.append([late])
        raise LookupError
    assert _entries(database, entry) + _entries(database, late) == 0


def test_a_rollback_ends_the_block_without_a_commit(units: Units, database: Database) -> None:
    """Nothing can be run after it; the connection serves the next one."""
    entry = build.entry()
    with units.ingest.begin() as tx:
        tx.outbox.append([entry])
        tx.clock.now()
        tx.rollback()
        with pytest.raises(RuntimeError):
            tx.customers.get([(BUCKET, "cus_a")])
    with units.ingest.begin() as tx:
        tx.outbox.append([build.entry()])
        tx.rollback()
    assert _entries(database, entry) == 0


def test_a_read_only_block_refuses_to_write(units: Units) -> None:
    """It has no transaction to write in."""
    with units.ingest.begin(read_only=True) as tx, pytest.raises(RuntimeError):
        tx.outbox.append([build.entry()])


def test_the_clock_stands_still_within_a_unit_of_work(units: Units) -> None:
    """All times of one transaction are equal, and in UTC."""
    with units.ingest.begin() as tx:
        first = tx.clock.now()
        tx.customers.insert([(BUCKET, build.name("cus"), False)])
        assert tx.clock.now() == first
    customer = build.customer(units.ingest)
    with units.ingest.begin() as tx:
        (stored,) = tx.records.upsert([build.record(customer, "clock")])
        assert tx.clock.now() == stored.record.created_at
    with units.ingest.begin(read_only=True) as tx:
        assert tx.clock.now() > first
    assert first.utcoffset() is not None
    assert str(first.utcoffset()) == "0:00:00"


def test_a_waiting_statement_that_fails_keeps_the_commit_from_happening(
    units: Units, database: Database
) -> None:
    """The server skips COMMIT; the caller is told that nothing was written."""
    good, bad = build.entry(), build.entry(b"x" * 4_097)
    with pytest.raises(RowRefused), units.ingest.begin() as tx:  # noqa: PT012 - a block's end is part of it
        tx.outbox.append([good])
        tx.outbox.append([bad])
    with pytest.raises(RowRefused), units.ingest.begin() as tx:  # noqa: PT012 - a block's end is part of it
        tx.outbox.append([good])
        tx.outbox.append([replace(good, bucket=70_000)])
    assert _entries(database, good) == 0


def test_a_failure_that_is_swallowed_does_not_commit(units: Units, database: Database) -> None:
    """PostgreSQL would answer COMMIT with a silent rollback; here it is an error."""
    entry = build.entry()
    with pytest.raises(ServiceError) as caught, units.ingest.begin() as tx:  # noqa: PT012 - a block's end is part of it
        tx.outbox.append([entry])
        with suppress(RowRefused):
            tx.idempotency.claim([(5_000, "p", "k", b"m")])
    assert caught.value.code == "internal_error"
    assert _entries(database, entry) == 0


def test_what_could_not_be_sent_keeps_the_rest_from_being_committed(units: Units) -> None:
    """What was to go with it has not gone, although the server has seen no failure."""
    with pytest.raises(ServiceError, match="failed before"), units.ingest.begin() as tx:  # noqa: PT012 - a block's end is part of it
        session = tx.outbox._session  # type: ignore[attr-defined]
        asked = session.ahead(b"SELECT 1", ())
        session.ahead(b"SELECT %b::text", ("half \ud800",))
        with suppress(RowRefused):
            session.rows(b"SELECT 2")
        with pytest.raises(RuntimeError, match="never came"):
            asked()


def test_rows_are_asked_for_ahead(units: Units) -> None:
    """They come with the next statement's, or by a trip of their own; in a read-only block too."""
    for read_only in (False, True):
        with units.ingest.begin(read_only=read_only) as tx:
            session = tx.outbox._session  # type: ignore[attr-defined]
            one, two = session.ahead(b"SELECT 1", ()), session.ahead(b"SELECT 2 WHERE false", ())
            assert session.rows(b"SELECT 3") == [(3,)]
            assert (one(), two(), one()) == ([(1,)], [], [(1,)])
            alone = session.ahead(b"SELECT 4", ())
            assert alone() == [(4,)]


def test_a_lost_connection_is_an_outage_and_the_next_block_works(
    units: Units, database: Database
) -> None:
    """Nothing was committed, so the caller may try again."""
    entry = build.entry()
    with pytest.raises(Unavailable) as caught, units.ingest.begin() as tx:  # noqa: PT012 - a block's end is part of it
        tx.clock.now()
        tx.outbox.append([entry])
        _kill_all(database)
        tx.customers.get([(BUCKET, "cus_a")])
    assert caught.value.code == "database_unavailable"
    assert caught.value.retry_after > 0
    assert _entries(database, entry) == 0
    units.ingest.ping()


def test_idle_connections_that_the_server_left_are_replaced_unseen(
    units: Units, database: Database
) -> None:
    """A restart of the server costs no caller an error once it is back."""
    with units.ingest.begin() as one, units.ingest.begin() as two:
        one.clock.now()
        two.clock.now()
    _kill_all(database)
    with units.ingest.begin() as one, units.ingest.begin() as two:
        one.outbox.append([build.entry()])
        two.outbox.append([build.entry()])


def test_a_connection_lost_under_the_commit_leaves_the_outcome_unknown(
    database: Database,
) -> None:
    """The caller must treat the use as spent: code `commit_unknown`, never retried."""
    with database.connect() as connection:
        connection.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER dying AFTER INSERT ON ledger_outbox"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"
        )
    calls = 0

    def work(tx: SqlTransaction) -> None:
        nonlocal calls
        calls += 1
        tx.outbox.append([build.entry()])

    try:
        with _engine(database) as made, pytest.raises(Unavailable) as caught:
            SqlUnitOfWork(made).run(work)
    finally:
        with database.connect() as connection:
            connection.execute("DROP TRIGGER dying ON ledger_outbox")
            connection.execute("DROP FUNCTION die()")
    assert (caught.value.code, calls) == ("commit_unknown", 1)


def test_a_commit_that_did_not_wait_for_its_standbys_is_unknown(database: Database) -> None:
    """D2: the server reports such a commit as done, beside a warning."""
    with _engine(database) as made:
        session = Session(made)
        session.defer(
            b"DO $$ BEGIN RAISE WARNING 'as the server warns' USING ERRCODE = '01000'; END $$", ()
        )
        with pytest.raises(Unavailable) as caught:
            session.commit()
        session.close()
        assert caught.value.code == "commit_unknown"
        session = Session(made)
        session.rows(b"SELECT 1")
        session.commit()
        session.close()


def test_a_statement_that_takes_too_long_is_an_outage(database: Database) -> None:
    """The server ends it, and the connection lives on."""
    with _engine(database, statement_timeout_ms=50) as made:
        session = Session(made)
        with pytest.raises(Unavailable, match="57014"):
            session.rows(b"SELECT pg_sleep(5)")
        session.close()
        SqlUnitOfWork(made).ping()


def test_a_silent_server_is_given_up(database: Database) -> None:
    """No timeout of the server's helps when the server itself stands still."""
    with _engine(database, patience_s=0.2) as made:
        for ask in (
            lambda session: session.rows(b"SELECT pg_sleep(2)"),
            lambda session: session.autonomous(b"SELECT pg_sleep(2)", ()),
        ):
            session = Session(made)
            with pytest.raises(Unavailable) as caught:
                ask(session)
            session.close()
            assert caught.value.code == "database_unavailable"
        session = Session(made)
        session.defer(b"SELECT pg_sleep(2)", ())
        with pytest.raises(Unavailable) as caught:
            session.commit()
        session.close()
        assert caught.value.code == "commit_unknown"
        SqlUnitOfWork(made).ping()


def test_a_row_that_a_rival_holds_for_too_long_is_an_outage(
    units: Units, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    """The wait for a lock ends before the caller's patience does."""
    monkeypatch.setattr(engine, "LOCK_TIMEOUT_MS", 50)
    grant = build.active(units.console)
    with units.console.begin() as tx, _engine(database, "vault_console") as made:
        tx.disclosures.get(BUCKET, grant.id, lock=True)
        with pytest.raises(Unavailable, match="rival"), SqlUnitOfWork(made).begin() as rival:
            rival.disclosures.get(BUCKET, grant.id, lock=True)


def test_an_exhausted_pool_is_an_outage(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller waits a moment for a connection, and is then sent away."""
    monkeypatch.setattr(engine, "POOL_TIMEOUT_S", 0.05)
    with _engine(database) as made:
        unit = SqlUnitOfWork(made)
        with unit.begin() as one, unit.begin() as two:
            one.clock.now()
            two.clock.now()
            with pytest.raises(Unavailable, match="in use"):
                unit.ping()
        unit.ping()


def test_no_server_at_all_is_an_outage() -> None:
    """Connecting fails at once, without quoting the address."""
    secret = "hid" + "den"
    made = engine.create(
        f"postgresql://vault_ingest:{secret}@127.0.0.1:1/vault", application_name="x", pool_size=1
    )
    with pytest.raises(Unavailable) as caught:
        SqlUnitOfWork(made).ping()
    assert secret not in _everything(caught.value)
    assert "127.0.0.1" not in _everything(caught.value)


def test_a_deadlock_is_tried_again(units: Units) -> None:
    """The loser of two transactions that wait for each other starts over and succeeds."""
    one, two = build.active(units.console), build.active(units.console)
    barrier = threading.Barrier(2)
    attempts: list[int] = []

    def cross(first: str, second: str, mine: int) -> None:
        def work(tx: SqlTransaction) -> None:
            attempts.append(mine)
            tx.disclosures.get(BUCKET, first, lock=True)
            if attempts.count(mine) == 1:
                barrier.wait(10)
            tx.disclosures.set_state(BUCKET, second, "revoked")

        units.console.run(work)

    with ThreadPoolExecutor(2) as pool:
        racers = [pool.submit(cross, one.id, two.id, 1), pool.submit(cross, two.id, one.id, 2)]
        for racer in racers:
            racer.result(20)
    assert sorted(attempts) in ([1, 1, 2], [1, 2, 2])


def test_rivals_that_always_win_are_an_outage(units: Units) -> None:
    """After three tries the caller is asked to come back."""
    calls = 0

    def work(tx: SqlTransaction) -> None:
        nonlocal calls
        calls += 1
        assert tx.clock
        raise failures.translate(psycopg.errors.SerializationFailure())

    with pytest.raises(Unavailable):
        units.console.run(work)
    assert calls == 3
    assert units.console.run(lambda tx: tx.floors.get()) == {}


def test_a_demoted_server_costs_its_connections(database: Database) -> None:
    """After a planned switch all connections lead to a standby; the pool is made anew."""
    with _engine(database) as made:
        session = Session(made)
        before = made.pool
        with pytest.raises(Unavailable, match="25006"):
            session.rows(b"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '25006'; END $$")
        session.close()
        assert made.pool is not before


def test_urls_that_cannot_be_read_are_named_without_being_quoted() -> None:
    """A bad setting does not spill a password."""
    secret = "hid" + "den"
    with pytest.raises(ServiceError) as caught:
        engine.create(f"postgresql://u:{secret}@h/db?no=1", application_name="x", pool_size=1)
    assert secret not in _everything(caught.value)


def _everything(error: BaseException) -> str:
    """What the most talkative of loggers could find in an error."""
    seen: list[str] = []
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if found is None:
            continue
        seen += [repr(found), str(found), *map(repr, found.args)]
        seen += traceback.format_exception(found)
        pending += [found.__cause__, found.__context__]
    return "\n".join(seen)


def _offer_again(units: Units, record: NewRecord) -> None:
    with units.ingest.begin() as tx:
        tx.records.upsert([record])
    with units.ingest.begin() as tx:
        tx.records.upsert([structs.replace(record, fingerprint=b"another")])


def _offer_nul(units: Units, record: NewRecord) -> None:
    with units.ingest.begin() as tx:
        tx.records.upsert([structs.replace(record, reference="\x00")])


def _offer_surrogate(units: Units, record: NewRecord) -> None:
    with units.ingest.begin() as tx:
        tx.records.upsert([structs.replace(record, reference=f"{record.reference}\ud800")])


def _offer_without_right(units: Units, record: NewRecord) -> None:
    with units.console.begin() as tx:
        tx.records.upsert([record])


def _offer_broken(units: Units, record: NewRecord) -> None:
    with units.ingest.begin() as tx:
        tx.records.upsert([structs.replace(record, token=None)])  # type: ignore[arg-type]


def _append_too_much(units: Units, record: NewRecord) -> None:
    with units.ingest.begin() as tx:
        tx.outbox.append([build.entry(record.envelope * 400)])


@pytest.mark.parametrize(
    "fail",
    [
        _offer_again,
        _offer_nul,
        _offer_surrogate,
        _offer_without_right,
        _offer_broken,
        _append_too_much,
    ],
)
def test_c1_no_failure_carries_a_row(
    units: Units, caplog: pytest.LogCaptureFixture, fail: Callable[[Units, NewRecord], None]
) -> None:
    """Neither envelope, wrapped key, mask nor reference: not in text, arguments, chain or log."""
    caplog.set_level(logging.DEBUG)
    record = build.record(
        build.customer(units.ingest),
        "canary",
        envelope=b"CANARY-ENVELOPE",
        wrapped_key=WrappedKey(kek="k", kek_version=1, ciphertext="CANARY-WRAPPED"),
        mask={"number": "CANARY-MASK"},
        reference="CANARY-REFERENCE",
    )
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it may not leak
        fail(units, record)
    told = _everything(caught.value) + caplog.text
    assert "CANARY" not in told
    assert b"CANARY".hex() not in told
    assert caught.value.__cause__ is None
    assert not isinstance(caught.value.__context__, psycopg.Error)
