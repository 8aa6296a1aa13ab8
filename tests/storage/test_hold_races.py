"""A hold committed before an erasure's commit wins, however the two are interleaved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.storage import build
from tests.storage.build import BUCKET, Units
from tests.support.servers import Database
from vault_service.services.record_ports import NewRecord

HOLD = """
INSERT INTO holds (bucket, id, customer, tokens, placed_by, details_envelope,
    details_wrapped_key, details_kek, details_kek_version)
VALUES (%s, %s, %s, %s, 'prn_officer', '\\x00', 'vault:v1:x', 'evidence', 1)
"""
SETTLE = "SELECT live FROM settle_holds(%s::smallint, %s)"
# How each way to erase goes, with the role that has it.
WAYS: dict[str, tuple[str, Callable[[NewRecord], tuple[str, Any]]]] = {
    "by name": (
        "vault_ingest",
        lambda row: (
            "SELECT token FROM erase_records(%s::smallint[], %s)",
            ([BUCKET], [row.token]),
        ),
    ),
    "by expiry": (
        "vault_worker",
        lambda _: ("SELECT token FROM erase_expired_records(1000)", ()),
    ),
    "by a duplicate": (
        "vault_ingest",
        lambda row: (
            "SELECT token FROM erase_expired_duplicates(%s::smallint[], %s, %s, %s, %s)",
            ([BUCKET], [row.customer], [row.data_class], [row.fingerprint], [row.variant]),
        ),
    ),
}


@pytest.fixture
def row(units: Units, database: Database) -> NewRecord:
    """An expired record, alone in its expiry."""
    offered = build.record(build.customer(units.ingest), build.name("value"))
    with units.ingest.begin() as tx:
        tx.records.upsert([offered])
    with database.connect() as link:
        link.execute("UPDATE records SET expires_at = NULL WHERE erased_at IS NULL")
        link.execute(
            "UPDATE records SET expires_at = now() - interval '1 s' WHERE token = %s",
            [offered.token],
        )
    return offered


def hold(link: psycopg.Connection[Any], row: NewRecord, *, whole: bool) -> None:
    """Place a hold in an open transaction."""
    tokens = None if whole else [row.token]
    link.execute(HOLD, (BUCKET, build.name("hld"), row.customer, tokens))
    assert link.execute(SETTLE, (BUCKET, row.customer)).fetchone() == (True,)


def sealed(database: Database, row: NewRecord) -> bool:
    """Whether the record is whole."""
    with database.connect() as link:
        found = link.execute("SELECT erased_at FROM records WHERE token = %s", [row.token])
        return found.fetchone() == (None,)


def waits(database: Database) -> None:
    """Return when somebody waits for a lock."""
    deadline = time.monotonic() + 10
    with database.connect() as link:
        while time.monotonic() < deadline:
            (waiting,) = link.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted"
            ).fetchone() or (0,)
            if waiting:
                return
            time.sleep(0.01)
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("whole", [True, False], ids=["customer", "token"])
@pytest.mark.parametrize("way", WAYS)
def test_a_hold_that_is_being_placed_wins(
    database: Database, row: NewRecord, way: str, *, whole: bool
) -> None:
    """The erasure begins before the hold's commit, waits or passes by, and erases nothing."""
    role, statement = WAYS[way]
    with database.connect("vault_console") as placing:
        placing.autocommit = False
        hold(placing, row, whole=whole)
        found: list[Any] = []

        def erase() -> None:
            with database.connect(role) as link:
                found.extend(link.execute(*statement(row)).fetchall())

        eraser = threading.Thread(target=erase)
        eraser.start()
        if way != "by expiry":  # which does not wait
            waits(database)
        placing.commit()
        eraser.join(10)
    assert found == []
    assert sealed(database, row)


@pytest.mark.parametrize("way", WAYS)
def test_an_erasure_that_is_under_way_is_seen_by_the_hold(
    database: Database, row: NewRecord, way: str
) -> None:
    """The hold waits for it, and whoever places it then finds the record gone."""
    role, statement = WAYS[way]
    with database.connect(role) as erasing, database.connect("vault_console") as placing:
        erasing.autocommit = False
        assert erasing.execute(*statement(row)).fetchall() == [(row.token,)]
        placing.autocommit = False
        placer = threading.Thread(target=lambda: hold(placing, row, whole=False))
        placer.start()
        waits(database)
        erasing.commit()
        placer.join(10)
        left = placing.execute(
            "SELECT token FROM records WHERE token = %s AND erased_at IS NULL", [row.token]
        ).fetchall()
        assert left == []
        placing.rollback()
    assert not sealed(database, row)


def test_two_holds_placed_at_once_both_count(database: Database, row: NewRecord) -> None:
    """The second settles with the first before its eyes."""
    with database.connect("vault_console") as one, database.connect("vault_console") as two:
        one.autocommit = two.autocommit = False
        hold(one, row, whole=True)
        two.execute(
            HOLD.replace("details_envelope", "until, details_envelope").replace(
                "'prn_officer',", "'prn_officer', now() + interval '1 hour',"
            ),
            (BUCKET, build.name("hld"), row.customer, None),
        )
        settler = threading.Thread(target=lambda: two.execute(SETTLE, (BUCKET, row.customer)))
        settler.start()
        waits(database)
        one.commit()
        settler.join(10)
        two.commit()
    with database.connect() as link:
        found = link.execute(
            "SELECT held_until = 'infinity' FROM customers WHERE id = %s", [row.customer]
        )
        assert found.fetchone() == (True,)
