"""What is kept of customers, sealed: records, communications, activity."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from vault_service.storage.tables.columns import (
    bound,
    bucket,
    bucket_range,
    metadata,
    of_customer,
    time,
)

# The columns that only the reveal and rotation roles may read.
SEALED_COLUMNS: Final = ("envelope", "wrapped_key", "envelope_hash", "bound_by", "bound_path")

records: Final = Table(
    "records",
    metadata,
    bucket(),
    Column("token", Text, nullable=False),
    Column("customer", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("format", Text, nullable=False),
    # What tells two records of one fingerprint apart without being secret: token format, and a
    # card's expiry. Part of the deduplication key.
    Column("variant", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("mask", JSONB, nullable=False),
    Column("fingerprint", LargeBinary),
    Column("fingerprint_version", Integer),
    Column("envelope", LargeBinary),
    Column("wrapped_key", Text),
    Column("kek", Text),
    Column("kek_version", Integer),
    Column("metadata", JSONB),
    Column("reference", Text),
    time("created_at", nullable=False, now=True),
    time("expires_at"),
    time("erased_at"),
    time("held_until"),
    *bound(),
    PrimaryKeyConstraint("bucket", "token"),
    # Deduplication, and by its prefix the listing of a customer's records.
    UniqueConstraint("bucket", "customer", "class", "fingerprint", "variant"),
    of_customer(),
    bucket_range(),
    # An erased record keeps its name, so that the token is never given out again, and nothing else.
    CheckConstraint(
        "(erased_at IS NULL) = (envelope IS NOT NULL)"
        " AND (erased_at IS NULL) = (wrapped_key IS NOT NULL)"
        " AND (erased_at IS NULL) = (kek IS NOT NULL)"
        " AND (erased_at IS NULL) = (kek_version IS NOT NULL)"
        " AND (erased_at IS NULL) = (fingerprint IS NOT NULL)",
        name="erased_or_whole",
    ),
    # Search by value: exact match of the keyed fingerprint over all customers.
    Index(
        "ix_records_fingerprint", "fingerprint", postgresql_where=text("fingerprint IS NOT NULL")
    ),
    # The purge of expired records; holds only those that can expire.
    Index("ix_records_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
)

# Masks of versions that a customer's change replaced; the sealed value itself is not kept.
record_versions: Final = Table(
    "record_versions",
    metadata,
    bucket(),
    Column("token", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("mask", JSONB, nullable=False),
    Column("modification", Text, nullable=False),
    time("replaced_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "token", "version"),
    ForeignKeyConstraint(["bucket", "token"], ["records.bucket", "records.token"]),
    bucket_range(),
)

# Chunks of records of the class `communication`, whose envelope is the chunks' header. What was not
# kept is an upload under way, or one that died or was erased: it has no key.
communications: Final = Table(
    "communications",
    metadata,
    bucket(),
    Column("token", Text, nullable=False),
    Column("customer", Text, nullable=False),
    # Of what was sealed, in bytes.
    Column("size", BigInteger),
    time("started_at", nullable=False, now=True),
    time("kept_at"),
    PrimaryKeyConstraint("bucket", "token"),
    of_customer(),
    bucket_range(),
    CheckConstraint("(kept_at IS NULL) = (size IS NULL)", name="kept"),
    Index("ix_communications_customer", "bucket", "customer", "kept_at", "token"),
    Index("ix_communications_waiting", "started_at", postgresql_where=text("kept_at IS NULL")),
)

communication_chunks: Final = Table(
    "communication_chunks",
    metadata,
    bucket(),
    Column("token", Text, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("bucket", "token", "number"),
    ForeignKeyConstraint(
        ["bucket", "token"],
        ["communications.bucket", "communications.token"],
        ondelete="CASCADE",
    ),
    bucket_range(),
)

# Entries of one customer and month, sealed together; a partition for each month.
activity_segments: Final = Table(
    "activity_segments",
    metadata,
    bucket(),
    Column("month", Date, nullable=False),
    Column("id", Text, nullable=False),
    # No foreign key: dropping a month would lock all customers.
    Column("customer", Text, nullable=False),
    time("first_at", nullable=False),
    time("last_at", nullable=False),
    Column("marks", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("wrapped_key", Text, nullable=False),
    Column("kek", Text, nullable=False),
    Column("kek_version", Integer, nullable=False),
    *bound(),
    time("recorded_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "month", "id"),
    bucket_range(),
    CheckConstraint("octet_length(marks) > 0 AND mod(octet_length(marks), 10) = 0", name="marks"),
    CheckConstraint("first_at <= last_at", name="ordered"),
    Index("ix_activity_segments_customer", "bucket", "customer", "first_at", "last_at"),
    postgresql_partition_by="RANGE (month)",
)
