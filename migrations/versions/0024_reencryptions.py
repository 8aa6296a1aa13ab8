"""Create the runs of re-encryption: how far each part of one is.

No role of the service has a right on it: re-encrypting is done by a command with the owner's login.

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0024"
down_revision: Final = "0023"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "reencryptions",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("after_bucket", sa.SmallInteger),
        sa.Column("after_token", sa.Text),
        sa.Column("done", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("refused", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("started_at", TIME, nullable=False, server_default=NOW),
        sa.Column("finished_at", TIME),
        sa.Column("certified_at", TIME),
        sa.PrimaryKeyConstraint("run", "shard", name="pk_reencryptions"),
    )


def downgrade() -> None:
    op.drop_table("reencryptions")
