"""Create customers and their sealed records, with column grants.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0003"
down_revision: Final = "0002"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)

# All but `envelope` and `wrapped_key`.
MASKED: Final = (
    "bucket, token, customer, class, format, variant, version, mask, fingerprint,"
    " fingerprint_version, kek, kek_version, metadata, reference, created_at, expires_at, erased_at"
)
# What a writer may say of a new record; the rest are the database's own words.
WRITTEN: Final = (
    "bucket, token, customer, class, format, variant, mask, fingerprint, fingerprint_version,"
    " envelope, wrapped_key, kek, kek_version, metadata, reference, expires_at"
)


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("has_reference", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.Column("erased_at", TIME),
        sa.PrimaryKeyConstraint("bucket", "id", name="pk_customers"),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_customers_bucket")),
    )
    _records()
    op.execute("GRANT SELECT ON customers TO vault_ingest, vault_console")
    op.execute("GRANT INSERT (bucket, id, has_reference) ON customers TO vault_ingest")
    op.execute(f"GRANT SELECT ({MASKED}) ON records TO vault_ingest, vault_console, vault_worker")
    op.execute(f"GRANT INSERT ({WRITTEN}), UPDATE (expires_at) ON records TO vault_ingest")
    op.execute("GRANT SELECT ON records TO vault_reveal")
    # Rewrapping: the wrapped key changes and the envelope stays unseen.
    op.execute(
        "GRANT SELECT (wrapped_key), UPDATE (wrapped_key, kek_version) ON records TO vault_worker"
    )


def downgrade() -> None:
    op.drop_table("records")
    op.drop_table("customers")


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("class", sa.Text, nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("variant", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("mask", postgresql.JSONB, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary),
        sa.Column("fingerprint_version", sa.Integer),
        sa.Column("envelope", sa.LargeBinary),
        sa.Column("wrapped_key", sa.Text),
        sa.Column("kek", sa.Text),
        sa.Column("kek_version", sa.Integer),
        sa.Column("metadata", postgresql.JSONB),
        sa.Column("reference", sa.Text),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.Column("expires_at", TIME),
        sa.Column("erased_at", TIME),
        sa.PrimaryKeyConstraint("bucket", "token", name="pk_records"),
        # Finds the record of an equal value, and by its prefix a customer's records.
        sa.UniqueConstraint(
            "bucket",
            "customer",
            "class",
            "fingerprint",
            "variant",
            name="uq_records_bucket_customer_class_fingerprint_variant",
        ),
        sa.ForeignKeyConstraint(
            ["bucket", "customer"],
            ["customers.bucket", "customers.id"],
            name="fk_records_bucket_customer",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_records_bucket")),
        sa.CheckConstraint(
            "(erased_at IS NULL) = (envelope IS NOT NULL)"
            " AND (erased_at IS NULL) = (wrapped_key IS NOT NULL)"
            " AND (erased_at IS NULL) = (kek IS NOT NULL)"
            " AND (erased_at IS NULL) = (kek_version IS NOT NULL)"
            " AND (erased_at IS NULL) = (fingerprint IS NOT NULL)",
            name=op.f("ck_records_erased_or_whole"),
        ),
    )
    # Search by value, over all customers.
    op.create_index(
        "ix_records_fingerprint",
        "records",
        ["fingerprint"],
        postgresql_where=sa.text("fingerprint IS NOT NULL"),
    )
    # The purge; holds only the records that can expire and are not erased yet.
    op.create_index(
        "ix_records_expires_at",
        "records",
        ["expires_at"],
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
