"""Principals, their API keys, and the reviews of what they may do."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from vault_service.storage.tables.columns import metadata, time

principals: Final = Table(
    "principals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("roles", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'active'")),
    Column("created_by", Text, nullable=False),
    time("created_at", nullable=False, now=True),
    # When the rights to ask for plaintext or approve it end, unless somebody reviews them.
    Column(
        "review_due",
        TIMESTAMP(timezone=True),
        nullable=False,
        server_default=text("now() + interval '6 months'"),
    ),
    CheckConstraint("state IN ('active', 'disabled')", name="state"),
    CheckConstraint("cardinality(roles) > 0", name="has_role"),
    # Whether a review has passed is asked with each credential of an officer.
    Index("ix_principals_review_due", "review_due"),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal", Text, ForeignKey("principals.id"), nullable=False, index=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("confirmed_by", Text),
    time("created_at", nullable=False, now=True),
    time("confirmed_at"),
    time("expires_at"),
    time("revoked_at"),
    time("last_used_at"),
    CheckConstraint("state IN ('pending', 'active', 'revoked')", name="state"),
    # Dual control of keys that can disclose: who made or holds the key does not confirm it.
    CheckConstraint(
        "confirmed_by IS NULL OR (confirmed_by <> created_by AND confirmed_by <> principal)",
        name="confirmed_by_another",
    ),
)

access_reviews: Final = Table(
    "access_reviews",
    metadata,
    Column("id", Text, primary_key=True),
    time("opened_at", nullable=False, now=True),
    time("due", nullable=False),
    time("overdue_at"),
    time("completed_at"),
    Index(
        "ix_access_reviews_open",
        text("(completed_at IS NULL)"),
        unique=True,
        postgresql_where=text("completed_at IS NULL"),
    ),
)

access_review_items: Final = Table(
    "access_review_items",
    metadata,
    Column("review", Text, ForeignKey("access_reviews.id"), nullable=False),
    Column("principal", Text, ForeignKey("principals.id"), nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("decision", Text),
    Column("decided_by", Text),
    time("decided_at"),
    PrimaryKeyConstraint("review", "principal"),
    CheckConstraint("decision IN ('keep', 'remove')", name="decision"),
    CheckConstraint(
        "(decision IS NULL) = (decided_by IS NULL) AND (decision IS NULL) = (decided_at IS NULL)",
        name="decided_whole",
    ),
    CheckConstraint("decided_by <> principal", name="by_another"),
)
