"""Create the marks of honeytokens, and the one way in which any process may end a key that touched.

The function runs with the owner's rights: a role that could set `state` could also bring a key to
life. It can end live keys and nothing else.

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0021"
down_revision: Final = "0020"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)
GUARDS: Final = "vault_ingest, vault_reveal, vault_console"
SIGNATURE: Final = "revoke_touching_key(text)"
REVOKE: Final = """
CREATE FUNCTION revoke_touching_key(touching text) RETURNS TABLE (principal text)
    LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    UPDATE api_keys AS k SET state = 'revoked', revoked_at = pg_catalog.now()
    WHERE k.id = touching AND k.state <> 'revoked'
    RETURNING k.principal;
END
"""


def upgrade() -> None:
    op.create_table(
        "honeytokens",
        sa.Column("mark", sa.LargeBinary, nullable=False),
        sa.Column("key_version", sa.Integer, nullable=False),
        sa.Column("planted_by", sa.Text, nullable=False),
        sa.Column("planted_at", TIME, nullable=False, server_default=NOW),
        sa.Column("lifted_by", sa.Text),
        sa.Column("lifted_at", TIME),
        sa.PrimaryKeyConstraint("mark", name="pk_honeytokens"),
        sa.CheckConstraint("octet_length(mark) = 16", name=op.f("ck_honeytokens_mark_size")),
        sa.CheckConstraint(
            "(lifted_by IS NULL) = (lifted_at IS NULL)", name=op.f("ck_honeytokens_lifted")
        ),
    )
    op.execute(f"GRANT SELECT (mark, key_version, lifted_at) ON honeytokens TO {GUARDS}")
    op.execute(
        "GRANT INSERT (mark, key_version, planted_by),"
        " UPDATE (planted_by, planted_at, lifted_by, lifted_at) ON honeytokens TO vault_console"
    )
    op.execute(REVOKE)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO {GUARDS}")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {SIGNATURE}")
    op.drop_table("honeytokens")
