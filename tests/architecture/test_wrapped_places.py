"""Rotation reaches every wrapped key: the tables and the list of places agree."""

from __future__ import annotations

import pytest

from vault_service.storage.tables import metadata
from vault_service.storage.wrapped import PLACES, Place


def test_every_wrapped_key_column_is_a_place() -> None:
    """A column that rotation does not know would be unreadable once its version is retired."""
    columns = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.c
        if column.name.endswith("wrapped_key")
    }
    assert columns == {place.name for place in PLACES}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_a_place_is_walked_by_its_primary_key(place: Place) -> None:
    """The walk needs no index of its own, and the columns that go with the key exist."""
    table = metadata.tables[place.table]
    assert place.keys == tuple(column.name for column in table.primary_key.columns)
    assert {place.wrapped, place.kek, place.version} <= set(table.c.keys())
