"""Create the log: its tree, tiles, entry bundles, leaves and checkpoints.

The outbox gets the index that the sequencer takes it by; a right-growing index on a table that is
nearly empty costs an append about nothing. Full tiles, bundles and leaves are written once: no role
of the service may change or delete them.

Revision ID: 0007
Revises: 0006
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0007"
down_revision: Final = "0006"
branch_labels: Final = None
depends_on: Final = None

EVERYBODY: Final = "vault_ingest, vault_reveal, vault_console, vault_worker"
# The worker reads the whole outbox already.
OTHERS: Final = "vault_ingest, vault_reveal, vault_console"
TABLES: Final = (
    "ledger_checkpoints",
    "ledger_leaves",
    "ledger_tail",
    "ledger_bundles",
    "ledger_tiles",
    "ledger_edge",
    "ledger_tree",
)
EAGER: Final = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,"
    " autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0,"
    " autovacuum_analyze_threshold = 100000"
)
EAGER_TOAST: Final = (
    "toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 10000"
)
NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)
EMPTY_TREE: Final = """
INSERT INTO ledger_tree (id, size, root, signed_size, first_leaf)
VALUES (1, 0, sha256(''), 0, 0)
"""

# A log is not to be lost by a step back in the schema.
REFUSE_IF_FILLED: Final = """
DO $$
BEGIN
    IF (SELECT size FROM ledger_tree) > 0 THEN
        RAISE EXCEPTION 'the ledger holds entries; this step back would destroy them';
    END IF;
END
$$
"""


def upgrade() -> None:
    op.create_index("ix_ledger_outbox_created_at", "ledger_outbox", ["created_at"])
    # Every row of the outbox is deleted soon: its space is taken back before it grows.
    op.execute(f"ALTER TABLE ledger_outbox SET ({EAGER})")
    op.execute(f"ALTER TABLE ledger_outbox SET ({EAGER_TOAST})")
    _tree()
    _entries()
    op.create_table(
        "ledger_checkpoints",
        sa.Column("size", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
        sa.Column("signed_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("size", name="pk_ledger_checkpoints"),
    )
    _grants()


def downgrade() -> None:
    op.execute(REFUSE_IF_FILLED)
    for table in TABLES:
        op.drop_table(table)
    op.execute(f"REVOKE SELECT (created_at) ON ledger_outbox FROM {OTHERS}")
    op.drop_index("ix_ledger_outbox_created_at", "ledger_outbox")
    for names in (EAGER, EAGER_TOAST):
        reset = ", ".join(name.partition(" = ")[0] for name in names.split(", "))
        op.execute(f"ALTER TABLE ledger_outbox RESET ({reset})")


def _tree() -> None:
    op.create_table(
        "ledger_tree",
        sa.Column("id", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("origin", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("signed_size", sa.BigInteger, nullable=False),
        sa.Column("unsigned_since", TIME),
        sa.Column("first_leaf", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_tree"),
        sa.CheckConstraint("id = 1", name=op.f("ck_ledger_tree_one")),
        sa.CheckConstraint("octet_length(root) = 32", name=op.f("ck_ledger_tree_root")),
        sa.CheckConstraint(
            "signed_size <= size AND first_leaf <= size AND mod(first_leaf, 256) = 0",
            name=op.f("ck_ledger_tree_sizes"),
        ),
    )
    op.execute(EMPTY_TREE)
    op.create_table(
        "ledger_edge",
        sa.Column("level", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("level", name="pk_ledger_edge"),
        sa.CheckConstraint(
            "mod(octet_length(hashes), 32) = 0 AND octet_length(hashes) < 8192",
            name=op.f("ck_ledger_edge_partial"),
        ),
    )
    op.create_table(
        "ledger_tiles",
        sa.Column("level", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name="pk_ledger_tiles"),
        sa.CheckConstraint("octet_length(hashes) = 8192", name=op.f("ck_ledger_tiles_full")),
    )
    # Hashes and gzip do not compress: trying costs time for nothing.
    for table in ("ledger_edge", "ledger_tiles"):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN hashes SET STORAGE EXTERNAL")


def _entries() -> None:
    op.create_table(
        "ledger_bundles",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("packed", sa.LargeBinary, nullable=False),
        sa.Column("terms", postgresql.ARRAY(sa.BigInteger), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_ledger_bundles"),
    )
    for column in ("packed", "terms"):
        op.execute(f"ALTER TABLE ledger_bundles ALTER COLUMN {column} SET STORAGE EXTERNAL")
    # What entries are found by: event, actor, token, customer and the like, each as 64 bits of
    # its hash, once for each bundle of 256 entries. New terms wait in the index's pending list and
    # are sorted in by the thousand, so that an append does not pay for each.
    op.create_index("ix_ledger_bundles_terms", "ledger_bundles", ["terms"], postgresql_using="gin")
    op.create_table(
        "ledger_tail",
        sa.Column("leaf", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("leaf", name="pk_ledger_tail"),
    )
    op.create_table(
        "ledger_leaves",
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("leaf", sa.BigInteger, nullable=False),
        # Also what makes it impossible to give one entry two places.
        sa.PrimaryKeyConstraint("id", name="pk_ledger_leaves"),
    )


def _grants() -> None:
    # How far the log is behind: every process asks, because none may disclose when it is too far.
    op.execute(f"GRANT SELECT (created_at) ON ledger_outbox TO {OTHERS}")
    op.execute(f"GRANT SELECT (unsigned_since) ON ledger_tree TO {EVERYBODY}")
    for table in TABLES:
        op.execute(f"GRANT SELECT ON {table} TO vault_console, vault_worker")
    op.execute(
        "GRANT UPDATE (origin, size, root, signed_size, unsigned_since)"
        " ON ledger_tree TO vault_worker"
    )
    op.execute("GRANT INSERT, UPDATE (hashes) ON ledger_edge TO vault_worker")
    op.execute("GRANT INSERT, DELETE ON ledger_tail TO vault_worker")
    op.execute("GRANT INSERT, DELETE ON ledger_checkpoints TO vault_worker")
    for table in ("ledger_tiles", "ledger_bundles", "ledger_leaves"):
        op.execute(f"GRANT INSERT ON {table} TO vault_worker")
