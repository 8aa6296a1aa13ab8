"""Create the rotations of key-encryption keys, and let the worker rewrap what decisions hold.

Revision ID: 0008
Revises: 0007
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0008"
down_revision: Final = "0007"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)
# What the worker needs of a decision to rewrap its comment's key; the comment stays unseen.
DECIDED: Final = (
    "bucket, disclosure, kind, principal, comment_wrapped_key, comment_kek, comment_kek_version"
)
REWRAPPED: Final = "comment_wrapped_key, comment_kek_version"


def upgrade() -> None:
    op.create_table(
        "rotations",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'requested'")),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("from_version", sa.Integer),
        sa.Column("to_version", sa.Integer),
        sa.Column("total", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("rewrapped", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("failed", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("requested_at", TIME, nullable=False, server_default=NOW),
        sa.Column("started_at", TIME),
        sa.Column("clear_at", TIME),
        sa.Column("finished_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_rotations"),
        sa.CheckConstraint(
            "state IN ('requested', 'running', 'verifying', 'failed', 'done')",
            name=op.f("ck_rotations_state"),
        ),
        sa.CheckConstraint("reason IN ('asked', 'period')", name=op.f("ck_rotations_reason")),
        sa.CheckConstraint(
            "state = 'requested' OR (from_version IS NOT NULL AND to_version > from_version"
            " AND started_at IS NOT NULL)",
            name=op.f("ck_rotations_begun"),
        ),
        sa.CheckConstraint(
            "(state = 'done') = (finished_at IS NOT NULL)", name=op.f("ck_rotations_finished")
        ),
    )
    # One at a time for each key; whoever asks for a second gets the first.
    op.create_index(
        "ix_rotations_live", "rotations", ["key"], unique=True, postgresql_where="state <> 'done'"
    )
    op.create_index("ix_rotations_requested_at", "rotations", ["requested_at", "id"])
    op.execute(
        "GRANT SELECT, INSERT (id, key, reason, requested_by), UPDATE (state)"
        " ON rotations TO vault_console"
    )
    op.execute(
        "GRANT SELECT, INSERT (id, key, reason, requested_by), UPDATE (state, from_version,"
        " to_version, total, rewrapped, failed, started_at, clear_at, finished_at)"
        " ON rotations TO vault_worker"
    )
    op.execute(
        f"GRANT SELECT ({DECIDED}), UPDATE ({REWRAPPED}) ON disclosure_decisions TO vault_worker"
    )


def downgrade() -> None:
    op.execute(
        f"REVOKE SELECT ({DECIDED}), UPDATE ({REWRAPPED}) ON disclosure_decisions FROM vault_worker"
    )
    op.drop_table("rotations")
