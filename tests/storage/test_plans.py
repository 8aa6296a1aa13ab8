"""Plans of the hot statements: look-ups by key, whatever the tables held when they were made."""

from __future__ import annotations

import re

import pytest

from tests.support.servers import Database
from vault_service.storage import (
    accounting,
    customers,
    disclosures,
    engine,
    idempotency,
    principals,
    records,
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
