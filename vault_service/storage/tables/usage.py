"""Visits of the company's website, counted."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, LargeBinary, Table, Text

from vault_service.storage.tables.columns import metadata

usage_keys: Final = Table(
    "usage_keys",
    metadata,
    Column("day", Date, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    CheckConstraint("octet_length(key) = 32", name="key_size"),
    # In no write-ahead log and in no backup, so that a key is gone when its row is.
    prefixes=["UNLOGGED"],
)

usage_counts: Final = Table(
    "usage_counts",
    metadata,
    Column("day", Date, primary_key=True),
    # A name of the settings, or `*` for all; no text of a visitor's.
    Column("page", Text, primary_key=True),
    Column("referrer", Text, primary_key=True),
    Column("views", BigInteger, nullable=False),
    Column("visitors", BigInteger, nullable=False),
    # While the day is open (docs/formats.md).
    Column("sketch", LargeBinary),
    CheckConstraint("views >= 0 AND visitors >= 0", name="counts"),
)
