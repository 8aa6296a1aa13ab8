"""Bind each record's wrapped key and envelope to a ledger entry.

A row names the entry that its last writer left and the path from itself to the entry's commitment.
Outbox and index keep each entry's commitment beside its id, cut out of the entry by the database,
so that a row can be compared with it by one look-up, wherever the entry lies by then, and by a role
that may not read entries. Rows of before have no binding: `vault-service keys adopt` gives them
one, and says so in the ledger.

The column of the envelope's hash has the table written anew, once. It lets the worker bind what it
may not read.

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0018"
down_revision: Final = "0017"
branch_labels: Final = None
depends_on: Final = None

# The 64 hex digits behind `"wrapped_keys":"`. No other text of an entry can hold a quotation mark.
COMMITTED: Final = """
CASE WHEN position('"wrapped_keys":"'::bytea IN entry) > 0
THEN substring(entry FROM position('"wrapped_keys":"'::bytea IN entry) + 16 FOR 64) END
"""


def upgrade() -> None:
    op.add_column(
        "records",
        sa.Column("envelope_hash", sa.LargeBinary, sa.Computed("sha256(envelope)", persisted=True)),
    )
    op.add_column("records", sa.Column("bound_by", postgresql.UUID(as_uuid=True)))
    op.add_column("records", sa.Column("bound_path", sa.LargeBinary))
    op.create_check_constraint(
        op.f("ck_records_bound"), "records", "(bound_by IS NULL) = (bound_path IS NULL)"
    )
    op.add_column(
        "ledger_outbox",
        sa.Column("wrapped_keys", sa.LargeBinary, sa.Computed(COMMITTED, persisted=True)),
    )
    op.add_column("ledger_leaves", sa.Column("wrapped_keys", sa.LargeBinary))
    op.execute("GRANT INSERT (bound_by, bound_path) ON records TO vault_ingest")
    op.execute(
        "GRANT SELECT (envelope_hash, bound_by, bound_path), UPDATE (bound_by, bound_path)"
        " ON records TO vault_worker"
    )
    # What reveal compares a row with before it gives a value.
    op.execute("GRANT SELECT (id, wrapped_keys) ON ledger_leaves TO vault_reveal")
    op.execute("GRANT SELECT (bucket, id, wrapped_keys) ON ledger_outbox TO vault_reveal")


def downgrade() -> None:
    op.execute("REVOKE SELECT (bucket, id) ON ledger_outbox FROM vault_reveal")
    op.execute("REVOKE SELECT (id) ON ledger_leaves FROM vault_reveal")
    op.drop_column("ledger_leaves", "wrapped_keys")
    op.drop_column("ledger_outbox", "wrapped_keys")
    op.drop_constraint(op.f("ck_records_bound"), "records")
    for column in ("bound_path", "bound_by", "envelope_hash"):
        op.drop_column("records", column)
