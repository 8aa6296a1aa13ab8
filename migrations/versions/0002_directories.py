"""Create the service's own directories: principals, API keys, key floors, policies, leases.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0002"
down_revision: Final = "0001"
branch_labels: Final = None
depends_on: Final = None

EVERYBODY: Final = "vault_ingest, vault_reveal, vault_console, vault_worker"
NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    _principals()
    _api_keys()
    op.create_table(
        "key_floors",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("min_version", sa.Integer, nullable=False),
        sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("key", name="pk_key_floors"),
    )
    op.create_table(
        "policies",
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("version", name="pk_policies"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("taken_at", TIME),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    _grants()


def downgrade() -> None:
    for table in ("leases", "policies", "key_floors", "api_keys", "principals"):
        op.drop_table(table)


def _principals() -> None:
    op.create_table(
        "principals",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'active'")),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("id", name="pk_principals"),
        sa.UniqueConstraint("name", name="uq_principals_name"),
        sa.CheckConstraint("state IN ('active', 'disabled')", name=op.f("ck_principals_state")),
        sa.CheckConstraint("cardinality(roles) > 0", name=op.f("ck_principals_has_role")),
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("confirmed_by", sa.Text),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.Column("confirmed_at", TIME),
        sa.Column("expires_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.Column("last_used_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["principal"], ["principals.id"], name="fk_api_keys_principal"),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'revoked')", name=op.f("ck_api_keys_state")
        ),
        sa.CheckConstraint(
            "confirmed_by IS NULL OR (confirmed_by <> created_by AND confirmed_by <> principal)",
            name=op.f("ck_api_keys_confirmed_by_another"),
        ),
    )
    # The keys of one principal, for its page and for the foreign key.
    op.create_index("ix_api_keys_principal", "api_keys", ["principal"])


def _grants() -> None:
    # Every process authenticates its own callers.
    op.execute(f"GRANT SELECT ON principals, api_keys, key_floors, policies TO {EVERYBODY}")
    op.execute(f"GRANT UPDATE (last_used_at) ON api_keys TO {EVERYBODY}")
    op.execute(
        "GRANT INSERT (id, name, roles, state, created_by), UPDATE (roles, state)"
        " ON principals TO vault_console"
    )
    op.execute(
        "GRANT INSERT (id, principal, secret_hash, state, created_by, expires_at),"
        " UPDATE (state, confirmed_by, confirmed_at, revoked_at) ON api_keys TO vault_console"
    )
    op.execute("GRANT INSERT (version, name, body) ON policies TO vault_console")
    op.execute("GRANT INSERT, UPDATE ON key_floors TO vault_worker")
    op.execute(
        "GRANT SELECT, INSERT (name), UPDATE (holder, taken_at) ON leases"
        " TO vault_worker, vault_console"
    )
