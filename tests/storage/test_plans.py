"""Plans of the hot statements: look-ups by key, whatever the tables held when they were made."""

from __future__ import annotations

import re

import pytest

from tests.support.servers import Database
from vault_service.storage import (
    accounting,
    bindings,
    customers,
    disclosures,
    engine,
    idempotency,
    modifications,
    principals,
    records,
    reencryptions,
)
from vault_service.storage.session import Session

HOT = {
    "upsert": (records._UPSERT, {"customers", "key_floors"}),
    "masked": (records._GET, {"records"}),
    "masked one": (records._GET_ONE, {"records"}),
    "sealed": (records._GET_SEALED, {"records"}),
    "sealed of customer": (records._OF_CUSTOMER, {"records"}),
    "by fingerprint": (records._BY_FINGERPRINT, {"records"}),
    "customers": (customers._GET, {"customers"}),
    "find": (idempotency._FIND, {"idempotency"}),
    "answer": (idempotency._ANSWER, {"idempotency"}),
    "credential": (principals._CREDENTIAL_OF_ONE, {"api_keys", "principals"}),
    "credentials": (principals._CREDENTIAL_OF_MANY, {"principals"}),
    "grants": (disclosures._GRANTS, {"disclosures"}),
    "disclosed of customer": (accounting._PAGE, {"reveals", "disclosures"}),
    "use": (disclosures._USE, {"disclosures", "disclosure_tokens"}),
}


@pytest.mark.parametrize("name", HOT)
def test_hot_statements_look_up_by_key_even_when_planned_on_empty_tables(
    database: Database, name: str
) -> None:
    """A plan is made once for a connection; the table may then grow a thousandfold under it."""
    statement, tables = HOT[name]
    places = iter(range(1, 100))
    numbered = re.sub(rb"%b", lambda _: b"$%d" % next(places), statement)
    nulls = b", ".join([b"NULL"] * (next(places) - 1))
    made = engine.create(database.owner_url, application_name="plans", pool_size=1)
    session = Session(made, read_only=True)
    try:
        session.rows(b"PREPARE hot AS " + numbered, prepare=False)
        plan = [
            row[0]
            for row in session.rows(
                b"EXPLAIN (COSTS OFF) EXECUTE hot (" + nulls + b")", prepare=False
            )
        ]
    finally:
        session.close()
        made.dispose()
    text = "\n".join(plan)
    assert "Hash Join" not in text
    assert "Merge Join" not in text
    assert "Seq Scan" not in text
    for table in tables:
        places_used = [
            number
            for number, line in enumerate(plan)
            if re.search(rf"Index (Only )?Scan (Backward )?using \w+ on {table}\b", line)
            or re.search(rf"Bitmap Heap Scan on {table}\b", line)
        ]
        assert places_used, text
        assert all("Cond" in plan[number + 1] for number in places_used), text


# Statements that walk all of a table in pages: each begins where the one before has ended.
WALKS = {
    "records": (bindings._WALK, "pk_records"),
    "segments": (bindings._WALK_SEGMENTS, r"activity_segments_202601_pkey"),
    "records to seal anew": (reencryptions._RECORDS, "pk_records"),
    "segments to seal anew": (reencryptions._SEGMENTS, r"activity_segments_202601_pkey"),
}
PLACE = {
    b"bucket": b"1", b"token": b"'t'", b"month": b"'2026-01-01'", b"name": b"'a'", b"limit": b"10",
    b"first": b"0", b"last": b"63", b"key": b"'k'",
}  # fmt: skip


@pytest.mark.parametrize("name", WALKS)
def test_walks_go_on_from_their_place(database: Database, name: str) -> None:
    """By the key's own order, so that the last page costs what the first one does."""
    statement, index = WALKS[name]
    names: dict[bytes, int] = {}
    numbered = re.sub(
        rb"%\((\w+)\)b",
        lambda found: b"$%d" % names.setdefault(found[1], len(names) + 1),
        statement,
    )
    made = engine.create(database.owner_url, application_name="plans", pool_size=1)
    session = Session(made, read_only=True)
    try:
        session.rows(b"SELECT open_activity_month('2026-01-01')")
        session.rows(b"PREPARE walk AS " + numbered, prepare=False)
        given = b", ".join([PLACE[each] for each in names])
        plan = [
            row[0]
            for row in session.rows(
                b"EXPLAIN (COSTS OFF) EXECUTE walk (" + given + b")", prepare=False
            )
        ]
    finally:
        session.close()
        made.dispose()
    (place,) = [number for number, line in enumerate(plan) if re.search(rf"using {index} on", line)]
    assert re.search(r"Index Cond: .*ROW\(\w*\.?bucket, ", plan[place + 1]), "\n".join(plan)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (modifications._UNASSIGNED, "ix_modifications_unassigned"),
        (modifications._PAGE_PENDING, "ix_modifications_pending"),
        (modifications._PAGE_OF, "pk_modifications"),
    ],
)
def test_what_waits_has_an_index_of_its_own(
    database: Database, statement: bytes, index: str
) -> None:
    """However much has ended."""
    made = engine.create(database.owner_url, application_name="plans", pool_size=1)
    session = Session(made, read_only=True)
    null = re.sub(rb"%\(\w+\)b", b"NULL", statement.replace(b"%(limit)b", b"10"))
    null = null.replace(
        b"m.bucket = NULL AND m.customer = NULL", b"m.bucket = 1 AND m.customer = ''"
    )
    try:
        plan = [row[0] for row in session.rows(b"EXPLAIN (COSTS OFF) " + null, prepare=False)]
    finally:
        session.close()
        made.dispose()
    assert any(f"using {index} on" in line for line in plan), "\n".join(plan)
