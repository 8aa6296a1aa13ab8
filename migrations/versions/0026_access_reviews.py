"""Create access reviews: every half year somebody else says whether a right is still needed.

Until when a principal's rights were reviewed stands in its own row, and the look-up of a credential
compares it with the database's clock: rights end without anybody having to end them. Whoever exists
now has the whole period before him.

Revision ID: 0026
Revises: 0025
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0026"
down_revision: Final = "0025"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)
DECIDED: Final = "decision, decided_by, decided_at"


def upgrade() -> None:
    op.add_column(
        "principals",
        sa.Column(
            "review_due",
            TIME,
            nullable=False,
            server_default=sa.text("now() + interval '6 months'"),
        ),
    )
    op.create_table(
        "access_reviews",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("opened_at", TIME, nullable=False, server_default=NOW),
        sa.Column("due", TIME, nullable=False),
        sa.Column("overdue_at", TIME),
        sa.Column("completed_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_access_reviews"),
    )
    # One review at a time, however many workers open one.
    op.create_index(
        "ix_access_reviews_open",
        "access_reviews",
        [sa.text("(completed_at IS NULL)")],
        unique=True,
        postgresql_where=sa.text("completed_at IS NULL"),
    )
    op.create_table(
        "access_review_items",
        sa.Column("review", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_at", TIME),
        sa.PrimaryKeyConstraint("review", "principal", name="pk_access_review_items"),
        sa.ForeignKeyConstraint(
            ["review"], ["access_reviews.id"], name="fk_access_review_items_review"
        ),
        sa.ForeignKeyConstraint(
            ["principal"], ["principals.id"], name="fk_access_review_items_principal"
        ),
        sa.CheckConstraint(
            "decision IN ('keep', 'remove')", name=op.f("ck_access_review_items_decision")
        ),
        sa.CheckConstraint(
            "(decision IS NULL) = (decided_by IS NULL)"
            " AND (decision IS NULL) = (decided_at IS NULL)",
            name=op.f("ck_access_review_items_decided_whole"),
        ),
        sa.CheckConstraint(
            "decided_by <> principal", name=op.f("ck_access_review_items_by_another")
        ),
    )
    op.execute("GRANT SELECT ON access_reviews, access_review_items TO vault_console, vault_worker")
    op.execute("GRANT UPDATE (completed_at) ON access_reviews TO vault_console")
    op.execute(f"GRANT UPDATE ({DECIDED}) ON access_review_items TO vault_console")
    op.execute("GRANT UPDATE (review_due) ON principals TO vault_console")
    op.execute(
        "GRANT INSERT (id, due), UPDATE (completed_at, overdue_at) ON access_reviews"
        " TO vault_worker"
    )
    op.execute("GRANT INSERT (review, principal, roles) ON access_review_items TO vault_worker")


def downgrade() -> None:
    op.drop_table("access_review_items")
    op.drop_table("access_reviews")
    op.drop_column("principals", "review_due")
