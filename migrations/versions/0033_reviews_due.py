"""Index the days on which reviews are due: each request of an officer asks for one that has passed.

Revision ID: 0033
Revises: 0032
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0033"
down_revision: Final = "0032"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    op.create_index("ix_principals_review_due", "principals", ["review_due"])


def downgrade() -> None:
    op.drop_index("ix_principals_review_due", "principals")
