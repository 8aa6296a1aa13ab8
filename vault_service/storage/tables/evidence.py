"""Documents that requests refer to, and who may read them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

from vault_service.storage.tables.columns import bucket, bucket_range, metadata, of_disclosure, time

evidence_documents: Final = Table(
    "evidence_documents",
    metadata,
    bucket(),
    Column("id", Text, nullable=False),
    Column("uploaded_by", Text, nullable=False),
    # By which a request names it; whoever holds a document can tell that it is here.
    Column("digest", LargeBinary, nullable=False),
    Column("salt", LargeBinary),
    Column("size", Integer, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("wrapped_key", Text, nullable=False),
    Column("kek", Text, nullable=False),
    Column("kek_version", Integer, nullable=False),
    time("created_at", nullable=False, now=True),
    time("referred_at"),
    PrimaryKeyConstraint("bucket", "id"),
    bucket_range(),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint("size > 0", name="size"),
    Index("ix_evidence_documents_uploaded_by", "uploaded_by", "digest"),
    Index(
        "ix_evidence_documents_waiting",
        "created_at",
        postgresql_where=text("referred_at IS NULL"),
    ),
)

evidence_chunks: Final = Table(
    "evidence_chunks",
    metadata,
    bucket(),
    Column("document", Text, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("bucket", "document", "number"),
    ForeignKeyConstraint(
        ["bucket", "document"],
        ["evidence_documents.bucket", "evidence_documents.id"],
        ondelete="CASCADE",
    ),
    bucket_range(),
)

# What a request refers to, in the request's bucket.
disclosure_documents: Final = Table(
    "disclosure_documents",
    metadata,
    bucket(),
    Column("disclosure", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("document_bucket", SmallInteger, nullable=False),
    Column("document", Text, nullable=False),
    PrimaryKeyConstraint("bucket", "disclosure", "field"),
    of_disclosure(),
    bucket_range(),
)

evidence_access: Final = Table(
    "evidence_access",
    metadata,
    bucket(),
    Column("disclosure", Text, nullable=False),
    Column("auditor", Text, nullable=False),
    Column("officer", Text, nullable=False),
    time("granted_at", nullable=False, now=True),
    time("expires_at", nullable=False),
    PrimaryKeyConstraint("bucket", "disclosure", "auditor"),
    of_disclosure(),
    bucket_range(),
    CheckConstraint("auditor <> officer", name="two_people"),
)
