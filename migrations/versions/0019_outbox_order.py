"""Have an entry's place in the outbox follow the statement that wrote it.

The sequencer takes entries in this order. By the time of its transaction's begin, a revocation
that had to wait for a reveal came before it in the ledger, although it was committed after it.
What one row's lock puts in order is now in that order in the ledger too.

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0019"
down_revision: Final = "0018"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    op.alter_column("ledger_outbox", "created_at", server_default=sa.text("clock_timestamp()"))


def downgrade() -> None:
    op.alter_column("ledger_outbox", "created_at", server_default=sa.text("now()"))
