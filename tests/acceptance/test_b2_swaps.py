"""B2: a row that was changed, or exchanged with another, opens nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.whole import Stage, numbers, standing
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import Revealed

RECORDS = 100
COLUMNS = ("envelope", "wrapped_key", "customer", "class", "kek", "kek_version", "version", "token")


@pytest.fixture(scope="module")
def customers(stage: Stage) -> list[str]:
    """Two customers."""
    return [stage.customer() for _ in range(2)]


@pytest.fixture(scope="module")
def records(stage: Stage, customers: list[str]) -> list[str]:
    """100 records: cards and telephones of two customers."""
    items = [
        TokenizeItem(
            data_class="payment_card",
            customer=customers[index % 2],
            value={"number": number, "exp_month": 12, "exp_year": 2040},
        )
        if index % 4 < 2
        else TokenizeItem(
            data_class="telephone", customer=customers[index % 2], value=f"+49 30 90{index:04d}"
        )
        for index, number in enumerate(numbers(RECORDS, start=0, prefix="433333"))
    ]
    return [view.id for view in stage.tokenize(*items)]


@pytest.fixture(scope="module")
def grant(stage: Stage, records: list[str]) -> str:
    """A grant for all of them, good for many uses."""
    return stage.granted(standing(*records, uses=10_000)).id


@pytest.fixture(scope="module")
def rows(stage: Stage, records: list[str]) -> dict[str, dict[str, Any]]:
    """The rows as they were written, by token."""
    found = stage.sql(
        "SELECT envelope, wrapped_key, customer, class, kek, kek_version, version, token, bucket"
        " FROM records WHERE token = ANY(%s)",
        [records],
    )
    return {row[7]: dict(zip((*COLUMNS, "bucket"), row, strict=True)) for row in found}


@contextmanager
def changed(
    stage: Stage, rows: Mapping[str, Mapping[str, Any]], column: str, values: Mapping[str, Any]
) -> Iterator[None]:
    """A column's values exchanged by a superuser, for a block, past every constraint."""
    _write(stage, rows, column, values)
    try:
        yield
    finally:
        _write(stage, rows, column, {token: rows[token][column] for token in values})


def _write(
    stage: Stage, rows: Mapping[str, Mapping[str, Any]], column: str, values: Mapping[str, Any]
) -> None:
    kind = {"envelope": "bytea", "kek_version": "integer", "version": "integer"}.get(column, "text")
    with stage.superuser() as link:
        link.execute("SET session_replication_role = replica")
        link.execute(
            f"UPDATE records AS r SET {column} = n.value"  # noqa: S608 -- a column of this file
            f" FROM unnest(%s::int[], %s::text[], %s::{kind}[]) AS n (bucket, token, value)"
            " WHERE r.bucket = n.bucket AND r.token = n.token",
            [[rows[t]["bucket"] for t in values], list(values), list(values.values())],
        )


def opened(stage: Stage, grant: str, records: Sequence[str]) -> dict[str, str | None]:
    """How each record answers: None for plaintext, or the code of its error."""
    results = stage.reveal(stage.token(grant), *records).results
    return {
        token: None if isinstance(result, Revealed) else result.code
        for token, result in zip(records, results, strict=True)
    }


@pytest.mark.parametrize("column", ["envelope", "wrapped_key"])
def test_b2_no_envelope_and_no_key_opens_in_another_row(
    stage: Stage,
    grant: str,
    records: list[str],
    rows: dict[str, dict[str, Any]],
    column: str,
) -> None:
    """The full matrix: each of 100 rows with each other row's column, 9,900 pairs."""
    assert set(opened(stage, grant, records).values()) == {None}
    for shift in range(1, RECORDS):
        moved = {
            token: rows[records[(place + shift) % RECORDS]][column]
            for place, token in enumerate(records)
        }
        with changed(stage, rows, column, moved):
            assert set(opened(stage, grant, records).values()) == {"value_unreadable"}, shift
    assert set(opened(stage, grant, records).values()) == {None}


def test_b2_no_envelope_with_its_key_opens_in_another_row(
    stage: Stage, grant: str, records: list[str], rows: dict[str, dict[str, Any]]
) -> None:
    """Envelope, wrapped key and KEK moved together are another row's context."""
    for shift in range(1, RECORDS, 7):
        source = {
            token: rows[records[(place + shift) % RECORDS]] for place, token in enumerate(records)
        }
        with (
            changed(stage, rows, "envelope", {t: r["envelope"] for t, r in source.items()}),
            changed(stage, rows, "wrapped_key", {t: r["wrapped_key"] for t, r in source.items()}),
            changed(stage, rows, "kek", {t: r["kek"] for t, r in source.items()}),
            changed(stage, rows, "class", {t: r["class"] for t, r in source.items()}),
        ):
            assert set(opened(stage, grant, records).values()) == {"value_unreadable"}


def test_b2_no_record_opens_as_another_customers(
    stage: Stage,
    grant: str,
    records: list[str],
    rows: dict[str, dict[str, Any]],
    customers: list[str],
) -> None:
    """The customer is part of what was sealed."""
    other = {customers[0]: customers[1], customers[1]: customers[0]}
    moved = {token: other[rows[token]["customer"]] for token in records}
    with changed(stage, rows, "customer", moved):
        assert set(opened(stage, grant, records).values()) == {"value_unreadable"}


@pytest.mark.parametrize(
    "data_class",
    ["payment_card", "telephone", "business_name", "contact_name", "email_address"],
)
def test_b2_no_record_opens_as_another_class(
    stage: Stage,
    grant: str,
    records: list[str],
    rows: dict[str, dict[str, Any]],
    data_class: str,
) -> None:
    """Nor with the KEK that would fit that class."""
    others = [token for token in records if rows[token]["class"] != data_class]
    kek = "records-card" if data_class == "payment_card" else "records-contact"
    with changed(stage, rows, "class", dict.fromkeys(others, data_class)):
        assert set(opened(stage, grant, others).values()) == {"value_unreadable"}
        with changed(stage, rows, "kek", dict.fromkeys(others, kek)):
            assert set(opened(stage, grant, others).values()) == {"value_unreadable"}


@pytest.mark.parametrize("version", [0, 2, 2**31 - 1])
def test_b2_no_record_opens_as_another_version(
    stage: Stage, grant: str, records: list[str], rows: dict[str, dict[str, Any]], version: int
) -> None:
    """An older value put back under a newer number, or the reverse, does not open."""
    with changed(stage, rows, "version", dict.fromkeys(records, version)):
        assert set(opened(stage, grant, records).values()) == {"value_unreadable"}


def test_b2_no_record_opens_under_another_token(
    stage: Stage, grant: str, records: list[str], rows: dict[str, dict[str, Any]]
) -> None:
    """Two rows of a customer that exchange their names."""
    mine = [t for t in records if rows[t]["customer"] == rows[records[0]]["customer"]]
    pairs = list(zip(mine[::2], mine[1::2], strict=True))
    statement = (
        "UPDATE records AS r SET token = n.new FROM unnest(%s::text[], %s::text[]) AS n (old, new)"
        " WHERE r.token = n.old"
    )
    names = [name for pair in pairs for name in pair]
    swapped = [name for one, other in pairs for name in (other, one)]
    aside = [f"aside-{name}" for name in names]
    stage.sql(statement, [names, aside])
    stage.sql(statement, [aside, swapped])
    try:
        assert set(opened(stage, grant, names).values()) == {"value_unreadable"}
    finally:
        stage.sql(statement, [names, aside])
        stage.sql(statement, [aside, swapped])
    assert set(opened(stage, grant, names).values()) == {None}


def test_b9_a_key_that_an_attacker_had_wrapped_by_vault_does_not_open(
    stage: Stage, grant: str, records: list[str], rows: dict[str, dict[str, Any]]
) -> None:
    """A data key of one's own, wrapped by the right KEK, is not the one that sealed."""
    import base64
    import secrets

    wrapped = {}
    for token in records[:20]:
        _, answer = stage.mount.server.request(
            "POST",
            f"{stage.mount.mount}/encrypt/{rows[token]['kek']}",
            {"plaintext": base64.b64encode(secrets.token_bytes(32)).decode()},
        )
        wrapped[token] = answer["data"]["ciphertext"]
    with changed(stage, rows, "wrapped_key", wrapped):
        assert set(opened(stage, grant, list(wrapped)).values()) == {"value_unreadable"}


def test_b2_a_truncation_or_a_flipped_byte_is_refused(
    stage: Stage, grant: str, records: list[str], rows: dict[str, dict[str, Any]]
) -> None:
    """On the way through the database too: shorter envelopes, and flips all over one."""
    envelope = bytes(rows[records[0]]["envelope"])
    forms = [envelope[:length] for length in range(len(envelope))]
    forms += [
        envelope[:at] + bytes([envelope[at] ^ 0x80]) + envelope[at + 1 :]
        for at in range(len(envelope))
    ]
    for form in forms[::3]:
        with changed(stage, rows, "envelope", {records[0]: form}):
            assert set(opened(stage, grant, records[:1]).values()) == {"value_unreadable"}
