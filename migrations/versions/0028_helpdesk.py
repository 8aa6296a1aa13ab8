"""Create the table of messages from the helpdesk, so that each is taken once.

Revision ID: 0028
Revises: 0027
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0028"
down_revision: Final = "0027"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    op.create_table(
        "helpdesk_messages",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column(
            "received_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.PrimaryKeyConstraint("bucket", "id", name="pk_helpdesk_messages"),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_helpdesk_messages_bucket")
        ),
    )
    # What the worker forgets.
    op.create_index("ix_helpdesk_messages_received_at", "helpdesk_messages", ["received_at"])
    op.execute("GRANT SELECT, INSERT (bucket, id) ON helpdesk_messages TO vault_ingest")
    op.execute("GRANT SELECT, DELETE ON helpdesk_messages TO vault_worker")


def downgrade() -> None:
    op.drop_table("helpdesk_messages")
