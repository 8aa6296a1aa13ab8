"""The use of grants: tokens, proofs of possession, budgets, and what was told of whom."""

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
)
from sqlalchemy.dialects.postgresql import UUID

from vault_service.storage.tables.columns import bucket, bucket_range, metadata, of_disclosure, time

disclosure_tokens: Final = Table(
    "disclosure_tokens",
    metadata,
    bucket(),
    Column("jti", Text, nullable=False),
    Column("disclosure", Text, nullable=False),
    Column("holder", Text, nullable=False),
    time("issued_at", nullable=False, now=True),
    time("expires_at", nullable=False),
    time("used_at"),
    # The ledger entry of the reveal that used it: each plaintext answer joins to exactly one.
    Column("entry", UUID(as_uuid=True)),
    PrimaryKeyConstraint("bucket", "jti"),
    of_disclosure(),
    bucket_range(),
    CheckConstraint("(used_at IS NULL) = (entry IS NULL)", name="use_has_entry"),
    Index("ix_disclosure_tokens_disclosure", "bucket", "disclosure"),
)

reveals: Final = Table(
    "reveals",
    metadata,
    # The customer's, so that all that was told of him lies on one shard.
    bucket(),
    Column("customer", Text, nullable=False),
    Column("entry", UUID(as_uuid=True), nullable=False),
    time("at", nullable=False, now=True),
    # Where the grant lies; no foreign key, which would cost the reveal a look-up for each row.
    Column("grant_bucket", SmallInteger, nullable=False),
    Column("disclosure", Text, nullable=False),
    Column("tokens", ARRAY(Text), nullable=False),
    Column("classes", ARRAY(Text), nullable=False),
    Column("fields", ARRAY(Text)),
    PrimaryKeyConstraint("bucket", "customer", "entry"),
    bucket_range(),
    CheckConstraint(
        "cardinality(tokens) > 0 AND cardinality(tokens) = cardinality(classes)",
        name="classes_of_tokens",
    ),
)

disclosure_budgets: Final = Table(
    "disclosure_budgets",
    metadata,
    # Of the principal.
    bucket(),
    Column("principal", Text, nullable=False),
    Column("ground", Text, nullable=False),
    Column("category", Text, nullable=False),
    # The hour and the day (UTC) that the numbers belong to; in a later one they count as 0.
    time("hour_at", nullable=False),
    Column("hour_spent", BigInteger, nullable=False),
    time("day_at", nullable=False),
    Column("day_spent", BigInteger, nullable=False),
    PrimaryKeyConstraint("bucket", "principal", "ground", "category"),
    bucket_range(),
    CheckConstraint("hour_spent >= 0 AND day_spent >= 0", name="spent"),
)

dpop_nonces: Final = Table(
    "dpop_nonces",
    metadata,
    # Minutes since the epoch.
    Column("slot", BigInteger, nullable=False, primary_key=True, autoincrement=False),
    Column("nonce", Text, nullable=False),
)

dpop_proofs: Final = Table(
    "dpop_proofs",
    metadata,
    # Of the grant that the proof was used for.
    bucket(),
    # SHA-256 of the key's thumbprint and the proof's jti.
    Column("digest", LargeBinary, nullable=False),
    time("until", nullable=False),
    PrimaryKeyConstraint("bucket", "digest"),
    bucket_range(),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    Index("ix_dpop_proofs_until", "until"),
)
