"""Create the ledger's outbox and the answers kept for an Idempotency-Key.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0005"
down_revision: Final = "0004"
branch_labels: Final = None
depends_on: Final = None

EVERYBODY: Final = "vault_ingest, vault_reveal, vault_console, vault_worker"
NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "ledger_outbox",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("bucket", "id", name="pk_ledger_outbox"),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_ledger_outbox_bucket")),
        sa.CheckConstraint("octet_length(entry) <= 4096", name=op.f("ck_ledger_outbox_entry_size")),
    )
    op.create_table(
        "idempotency",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("request_mac", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("bucket", "principal", "key", name="pk_idempotency"),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_idempotency_bucket")),
    )
    # The purge of old answers.
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])
    # Whoever acts adds the entry that tells of it. Nobody reads it back, changes it or takes it
    # away, save the sequencer, once it stands in the log.
    op.execute(f"GRANT INSERT (bucket, id, entry) ON ledger_outbox TO {EVERYBODY}")
    op.execute("GRANT SELECT, DELETE ON ledger_outbox TO vault_worker")
    op.execute(
        "GRANT SELECT, INSERT (bucket, principal, key, request_mac), UPDATE (response)"
        " ON idempotency TO vault_ingest"
    )
    op.execute(
        "GRANT SELECT (bucket, principal, key, created_at), DELETE ON idempotency TO vault_worker"
    )


def downgrade() -> None:
    op.drop_table("idempotency")
    op.drop_table("ledger_outbox")
