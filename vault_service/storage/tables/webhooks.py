"""Messages to webhooks, and their deliveries."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from vault_service.storage.tables.columns import bucket, bucket_range, metadata, time

webhook_outbox: Final = Table(
    "webhook_outbox",
    metadata,
    bucket(),
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("type", Text, nullable=False),
    # Exactly the bytes that are signed and sent.
    Column("body", LargeBinary, nullable=False),
    time("created_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "id"),
    bucket_range(),
    CheckConstraint("octet_length(body) <= 16384", name="body_size"),
    Index("ix_webhook_outbox_created_at", "created_at", "id"),
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    bucket(),
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time("created_at", nullable=False),
    # When it is due; while an attempt is under way, when its lease is over.
    time("next_at", nullable=False, now=True),
    time("ended_at"),
    Column("last_status", Integer),
    Column("last_error", Text),
    PrimaryKeyConstraint("bucket", "id", "endpoint"),
    bucket_range(),
    CheckConstraint("state IN ('waiting', 'delivered', 'dead')", name="state"),
    CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name="ended"),
    Index(
        "ix_webhook_deliveries_due",
        "endpoint",
        "next_at",
        postgresql_where=text("state = 'waiting'"),
    ),
    Index("ix_webhook_deliveries_id", "id", "endpoint"),
    Index(
        "ix_webhook_deliveries_ended_at",
        "state",
        "ended_at",
        postgresql_where=text("ended_at IS NOT NULL"),
    ),
)
