"""The ledger: its outbox, and the verifiable log."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

from vault_service.storage.tables.columns import bucket, bucket_range, metadata, time

ledger_outbox: Final = Table(
    "ledger_outbox",
    metadata,
    bucket(),
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("entry", LargeBinary, nullable=False),
    # When it was written, and not when its transaction began: what a row's lock put in order is in
    # this order in the log.
    Column(
        "created_at",
        TIMESTAMP(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    PrimaryKeyConstraint("bucket", "id"),
    bucket_range(),
    CheckConstraint("octet_length(entry) <= 4096", name="entry_size"),
    # The order in which the sequencer takes entries.
    Index("ix_ledger_outbox_created_at", "created_at"),
)

# The log itself has no bucket: one sequencer writes it, and nothing waits for it.
ledger_tree: Final = Table(
    "ledger_tree",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("origin", Text),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("signed_size", BigInteger, nullable=False),
    time("unsigned_since"),
    Column("first_leaf", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one"),
    CheckConstraint("octet_length(root) = 32", name="root"),
    CheckConstraint(
        "signed_size <= size AND first_leaf <= size AND mod(first_leaf, 256) = 0", name="sizes"
    ),
)

# The partial tile of each level: the only part of the tree that is ever written twice.
ledger_edge: Final = Table(
    "ledger_edge",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    CheckConstraint(
        "mod(octet_length(hashes), 32) = 0 AND octet_length(hashes) < 8192", name="partial"
    ),
)

ledger_tiles: Final = Table(
    "ledger_tiles",
    metadata,
    Column("level", SmallInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("level", "number"),
    CheckConstraint("octet_length(hashes) = 8192", name="full"),
)

ledger_bundles: Final = Table(
    "ledger_bundles",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # The bundle as tlog-tiles has it, gzip.
    Column("packed", LargeBinary, nullable=False),
    Column("terms", ARRAY(BigInteger), nullable=False),
    time("first_at", nullable=False),
    time("last_at", nullable=False),
    Index("ix_ledger_bundles_terms", "terms", postgresql_using="gin"),
)

# The entries of the partial bundle.
ledger_tail: Final = Table(
    "ledger_tail",
    metadata,
    Column("leaf", BigInteger, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
)

ledger_leaves: Final = Table(
    "ledger_leaves",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("leaf", BigInteger, nullable=False),
    Column("wrapped_keys", LargeBinary),
)

ledger_checkpoints: Final = Table(
    "ledger_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
    time("signed_at", nullable=False, now=True),
)
