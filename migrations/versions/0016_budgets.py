"""Create disclosure budgets: how many values a principal has revealed on a ground lately.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0016"
down_revision: Final = "0015"
branch_labels: Final = None
depends_on: Final = None

TIME: Final = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "disclosure_budgets",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("ground", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("hour_at", TIME, nullable=False),
        sa.Column("hour_spent", sa.BigInteger, nullable=False),
        sa.Column("day_at", TIME, nullable=False),
        sa.Column("day_spent", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "bucket", "principal", "ground", "category", name="pk_disclosure_budgets"
        ),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_disclosure_budgets_bucket")
        ),
        sa.CheckConstraint(
            "hour_spent >= 0 AND day_spent >= 0", name=op.f("ck_disclosure_budgets_spent")
        ),
    )
    # Who reveals counts; nobody can take a row away.
    op.execute(
        "GRANT SELECT, INSERT, UPDATE (hour_at, hour_spent, day_at, day_spent)"
        " ON disclosure_budgets TO vault_reveal"
    )


def downgrade() -> None:
    op.drop_table("disclosure_budgets")
