"""Say of a change that waits why its message could be matched to no customer.

Changes of before say nothing, and stand in no list of such messages; they wait in the list of all.

Revision ID: 0034
Revises: 0033
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0034"
down_revision: Final = "0033"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    op.add_column("modifications", sa.Column("unassigned", sa.Text))
    # What waits for its customer, over all senders, oldest first; holds nothing else.
    op.create_index(
        "ix_modifications_unassigned",
        "modifications",
        ["expires_at", "id"],
        postgresql_where=sa.text("unassigned IS NOT NULL AND ended_at IS NULL"),
    )
    op.execute("GRANT SELECT (unassigned), INSERT (unassigned) ON modifications TO vault_ingest")
    op.execute("GRANT SELECT (unassigned) ON modifications TO vault_worker")


def downgrade() -> None:
    op.drop_index("ix_modifications_unassigned", "modifications")
    op.drop_column("modifications", "unassigned")
