"""Create documents of evidence, what refers to them, and auditors' leave to read evidence.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0015"
down_revision: Final = "0014"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)

UPLOADED: Final = (
    "bucket, id, uploaded_by, digest, salt, size, media_type, wrapped_key, kek, kek_version"
)
REWRAPPED: Final = "wrapped_key, kek_version"


def upgrade() -> None:
    _documents()
    _chunks()
    _referred()
    _access()
    _grants()


def downgrade() -> None:
    for table in (
        "evidence_access",
        "disclosure_documents",
        "evidence_chunks",
        "evidence_documents",
    ):
        op.drop_table(table)


def _documents() -> None:
    op.create_table(
        "evidence_documents",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("uploaded_by", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("wrapped_key", sa.Text, nullable=False),
        sa.Column("kek", sa.Text, nullable=False),
        sa.Column("kek_version", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.Column("referred_at", TIME),
        sa.PrimaryKeyConstraint("bucket", "id", name="pk_evidence_documents"),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_evidence_documents_bucket")
        ),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_evidence_documents_digest")),
        sa.CheckConstraint("size > 0", name=op.f("ck_evidence_documents_size")),
    )
    # A requester's document by the digest that a request names, and how many of his wait.
    op.create_index(
        "ix_evidence_documents_uploaded_by", "evidence_documents", ["uploaded_by", "digest"]
    )
    # The purge of what nobody refers to; holds only that.
    op.create_index(
        "ix_evidence_documents_waiting",
        "evidence_documents",
        ["created_at"],
        postgresql_where=sa.text("referred_at IS NULL"),
    )


def _chunks() -> None:
    op.create_table(
        "evidence_chunks",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("number", sa.SmallInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("bucket", "document", "number", name="pk_evidence_chunks"),
        sa.ForeignKeyConstraint(
            ["bucket", "document"],
            ["evidence_documents.bucket", "evidence_documents.id"],
            name="fk_evidence_chunks_bucket_document",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_evidence_chunks_bucket")),
    )
    # What is sealed does not compress, and trying costs time at every upload.
    op.execute("ALTER TABLE evidence_chunks ALTER COLUMN sealed SET STORAGE EXTERNAL")


def _referred() -> None:
    op.create_table(
        "disclosure_documents",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("disclosure", sa.Text, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("document_bucket", sa.SmallInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("bucket", "disclosure", "field", name="pk_disclosure_documents"),
        sa.ForeignKeyConstraint(
            ["bucket", "disclosure"],
            ["disclosures.bucket", "disclosures.id"],
            name="fk_disclosure_documents_bucket_disclosure",
        ),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_disclosure_documents_bucket")
        ),
    )


def _access() -> None:
    op.create_table(
        "evidence_access",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("disclosure", sa.Text, nullable=False),
        sa.Column("auditor", sa.Text, nullable=False),
        sa.Column("officer", sa.Text, nullable=False),
        sa.Column("granted_at", TIME, nullable=False, server_default=NOW),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("bucket", "disclosure", "auditor", name="pk_evidence_access"),
        sa.ForeignKeyConstraint(
            ["bucket", "disclosure"],
            ["disclosures.bucket", "disclosures.id"],
            name="fk_evidence_access_bucket_disclosure",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_evidence_access_bucket")),
        sa.CheckConstraint("auditor <> officer", name=op.f("ck_evidence_access_two_people")),
    )


def _grants() -> None:
    # What was uploaded never changes; a request can only come to refer to it.
    op.execute(
        f"GRANT SELECT, INSERT ({UPLOADED}), UPDATE (referred_at)"
        " ON evidence_documents TO vault_console"
    )
    op.execute("GRANT SELECT, INSERT ON evidence_chunks TO vault_console")
    op.execute("GRANT SELECT, INSERT ON disclosure_documents TO vault_console")
    op.execute(
        "GRANT SELECT, INSERT (bucket, disclosure, auditor, officer, expires_at),"
        " UPDATE (officer, granted_at, expires_at) ON evidence_access TO vault_console"
    )
    # The worker purges and rewraps; it reads neither content nor digest. Chunks go with their
    # document, by the foreign key.
    op.execute(
        "GRANT SELECT (bucket, id, wrapped_key, kek, kek_version, created_at, referred_at),"
        f" UPDATE ({REWRAPPED}), DELETE ON evidence_documents TO vault_worker"
    )
