"""Create the census of wrapped keys: how many lie under each version of each key.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0009"
down_revision: Final = "0008"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "key_census",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("wrapped", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("counted_at", TIME, nullable=False, server_default=NOW),
        sa.Column("overdue_since", TIME),
        sa.PrimaryKeyConstraint("key", name="pk_key_census"),
    )
    op.execute("GRANT SELECT ON key_census TO vault_console, vault_worker")
    op.execute(
        "GRANT INSERT (key, wrapped), UPDATE (wrapped, counted_at, overdue_since)"
        " ON key_census TO vault_worker"
    )


def downgrade() -> None:
    op.drop_table("key_census")
