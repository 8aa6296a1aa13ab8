"""Arrays made here are what PostgreSQL reads them as, and what the driver's own would be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.servers import Database
from vault_service.services.ports import RowRefused
from vault_service.storage import arrays
from vault_service.storage.arrays import Array

A, B = UUID(int=1), UUID(int=2**128 - 1)
LISTS: list[tuple[Callable[[Any], Array], str, Sequence[object]]] = [
    (arrays.texts, "text[]", []),
    (arrays.texts, "text[]", ["one"]),
    (arrays.texts, "text[]", ["a", "", None, 'q"\\,{}', "Zoë ☃", "NULL"]),
    (arrays.texts, "text[]", ["same"] * 1000),
    (arrays.texts, "text[]", [None] * 3),
    (arrays.blobs, "bytea[]", [b"", None, b"\x00\xff", bytes(70_000)]),
    (arrays.uuids, "uuid[]", [A, B, None]),
    (arrays.uuids, "uuid[]", [A, A]),
    (arrays.shorts, "smallint[]", []),
    (arrays.shorts, "smallint[]", [0, 1023, -(2**15), 2**15 - 1]),
    (
        arrays.moments,
        "timestamptz[]",
        [
            datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
            datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        ],
    ),
    (arrays.integers, "integer[]", [0, 7, -(2**31), 2**31 - 1]),
]


@pytest.mark.parametrize(("make", "kind", "items"), LISTS)
def test_the_server_reads_what_was_meant(
    database: Database, make: Callable[[Any], Array], kind: str, items: Sequence[object]
) -> None:
    """Each element comes back, nulls, emptiness and order included, prepared or not."""
    with database.connect() as connection:
        arrays.register(connection.adapters)
        statement = f"SELECT %b::{kind}, array_ndims(%b::{kind})"
        for prepare in (False, True, True):
            found = connection.execute(
                statement.encode(), (make(items), make(items)), prepare=prepare, binary=True
            ).fetchone()
            assert found == (list(items), 1 if items else None)


def test_an_element_of_another_type_is_refused_by_the_server(database: Database) -> None:
    """The type is said twice, in the statement and in the array; they must agree."""
    with database.connect() as connection:
        arrays.register(connection.adapters)
        with pytest.raises(psycopg.Error):
            connection.execute(b"SELECT %b::text[]", (arrays.blobs([b"x"]),))


@pytest.mark.parametrize(
    ("make", "item"),
    [(arrays.shorts, 2**15), (arrays.integers, 2**31), (arrays.texts, "half \ud800")],
)
def test_what_does_not_fit_is_refused(make: Callable[[Any], Array], item: object) -> None:
    """It is an error here, and never something else there."""
    with pytest.raises(RowRefused):
        make([item])
