"""Create the database roles of the service's processes.

Roles belong to the cluster, not to the database: another database, or whoever runs a managed
server, may have made them already. They are made without a login; a login and its password are
given by whoever runs the service. The downgrade leaves them, because dropping a role would take
a login away that this database does not own.

Revision ID: 0001
Revises:
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0001"
down_revision: Final = None
branch_labels: Final = None
depends_on: Final = None

ROLES: Final = ("vault_ingest", "vault_reveal", "vault_console", "vault_worker")
EVERYBODY: Final = ", ".join(ROLES)

# Two databases of one cluster may be migrated at once: whoever comes second finds the name taken,
# either at the look-up or at the unique index.
CREATE_ROLE: Final = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}') THEN
        BEGIN
            CREATE ROLE {role} NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
END
$$
"""

# The schema is the one that the owner's search_path names first; it need not be `public`.
ON_SCHEMA: Final = """
DO $$
BEGIN
    EXECUTE pg_catalog.format('{sentence}', pg_catalog.current_schema());
END
$$
"""


def upgrade() -> None:
    for role in ROLES:
        op.execute(CREATE_ROLE.format(role=role))
    op.execute(ON_SCHEMA.format(sentence=f"GRANT USAGE ON SCHEMA %I TO {EVERYBODY}"))
    # Readiness compares the schema's revision with the release's.
    op.execute(f"GRANT SELECT ON alembic_version TO {EVERYBODY}")


def downgrade() -> None:
    op.execute(f"REVOKE SELECT ON alembic_version FROM {EVERYBODY}")
    op.execute(ON_SCHEMA.format(sentence=f"REVOKE USAGE ON SCHEMA %I FROM {EVERYBODY}"))
