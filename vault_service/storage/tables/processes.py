"""What processes leave each other: leases, and answers under an Idempotency-Key."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text

from vault_service.storage.tables.columns import bucket, bucket_range, metadata, time

leases: Final = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text),
    time("taken_at"),
)

idempotency: Final = Table(
    "idempotency",
    metadata,
    bucket(),
    Column("principal", Text, nullable=False),
    Column("key", Text, nullable=False),
    # Keyed MAC of the request body, made in Vault: a plain hash of a card number is not stored.
    Column("request_mac", LargeBinary, nullable=False),
    Column("response", LargeBinary),
    time("created_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "principal", "key"),
    bucket_range(),
    Index("ix_idempotency_created_at", "created_at"),
)
