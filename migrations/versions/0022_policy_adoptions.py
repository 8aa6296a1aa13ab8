"""Create the history of the policy: which version came into force when, also again.

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0022"
down_revision: Final = "0021"
branch_labels: Final = None
depends_on: Final = None

EVERYBODY: Final = "vault_ingest, vault_reveal, vault_console, vault_worker"
TIME: Final = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "policy_adoptions",
        # Without gaps: it orders what came into force at one moment, and makes rivals meet.
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("adopted_at", TIME, nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("number", name="pk_policy_adoptions"),
        sa.ForeignKeyConstraint(
            ["version"], ["policies.version"], name="fk_policy_adoptions_version"
        ),
    )
    op.execute(
        "INSERT INTO policy_adoptions (number, version, adopted_at)"
        " SELECT row_number() OVER (ORDER BY first_seen_at, version), version, first_seen_at"
        " FROM policies"
    )
    # Whoever brings a policy adds to the history; nobody can take from it.
    op.execute(f"GRANT SELECT ON policy_adoptions TO {EVERYBODY}")
    op.execute("GRANT INSERT (number, version) ON policy_adoptions TO vault_console")


def downgrade() -> None:
    op.drop_table("policy_adoptions")
