"""Let a rotation know when the versions that it retired were trimmed.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0010"
down_revision: Final = "0009"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    op.add_column("rotations", sa.Column("trimmed_at", postgresql.TIMESTAMP(timezone=True)))
    op.execute("GRANT UPDATE (trimmed_at) ON rotations TO vault_worker")


def downgrade() -> None:
    op.drop_column("rotations", "trimmed_at")
