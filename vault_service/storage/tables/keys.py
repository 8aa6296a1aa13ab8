"""Versions of keys: floors, rotations, and how far what lies under old ones is renewed."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from vault_service.storage.tables.columns import metadata, time

key_floors: Final = Table(
    "key_floors",
    metadata,
    # Below this version no write is accepted: a rotation raises it first, so that a data key
    # still waiting in some process's pool cannot bring the old version back.
    Column("key", Text, primary_key=True),
    Column("min_version", Integer, nullable=False),
    time("updated_at", nullable=False, now=True),
)

rotations: Final = Table(
    "rotations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'requested'")),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    # Kept before Vault makes the new version, so that a repetition after a crash makes no second.
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("rewrapped", BigInteger, nullable=False, server_default=text("0")),
    Column("failed", BigInteger, nullable=False, server_default=text("0")),
    time("requested_at", nullable=False, now=True),
    time("started_at"),
    # When nothing was found under an older version for the first time.
    time("clear_at"),
    time("finished_at"),
    # When the versions that it retired were deleted in Vault.
    time("trimmed_at"),
    CheckConstraint(
        "state IN ('requested', 'running', 'verifying', 'failed', 'done')", name="state"
    ),
    CheckConstraint("reason IN ('asked', 'period')", name="reason"),
    CheckConstraint(
        "state = 'requested' OR (from_version IS NOT NULL AND to_version > from_version"
        " AND started_at IS NOT NULL)",
        name="begun",
    ),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished"),
    Index("ix_rotations_live", "key", unique=True, postgresql_where=text("state <> 'done'")),
    Index("ix_rotations_requested_at", "requested_at", "id"),
)

key_census: Final = Table(
    "key_census",
    metadata,
    Column("key", Text, primary_key=True),
    # Version -> how many keys lie under it; 0 for those that contradict themselves.
    Column("wrapped", JSONB, nullable=False, server_default=text("'{}'")),
    time("counted_at", nullable=False, now=True),
    time("overdue_since"),
)

# How far each part of a re-encryption is; the schema's owner alone has rights on it.
reencryptions: Final = Table(
    "reencryptions",
    metadata,
    Column("run", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("after_bucket", SmallInteger),
    Column("after_token", Text),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    Column("refused", BigInteger, nullable=False, server_default=text("0")),
    time("started_at", nullable=False, now=True),
    time("finished_at"),
    time("certified_at"),
    PrimaryKeyConstraint("run", "shard"),
)

# The one version of its fingerprint key that a class is written under; any, without a row.
fingerprint_versions: Final = Table(
    "fingerprint_versions",
    metadata,
    Column("class", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    time("since", nullable=False, now=True),
)
