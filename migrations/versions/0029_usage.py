"""Create usage counts, and the keys of their days, which no backup and no WAL holds.

`usage_keys` is unlogged: its rows are in no write-ahead log, in no base backup, on no standby, and
gone after a crash. The primary keys are the order in which days are read, merged and purged.

Revision ID: 0029
Revises: 0028
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0029"
down_revision: Final = "0028"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    op.create_table(
        "usage_keys",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_usage_keys"),
        sa.CheckConstraint("octet_length(key) = 32", name=op.f("ck_usage_keys_key_size")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "usage_counts",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("page", sa.Text, nullable=False),
        sa.Column("referrer", sa.Text, nullable=False),
        sa.Column("views", sa.BigInteger, nullable=False),
        sa.Column("visitors", sa.BigInteger, nullable=False),
        sa.Column("sketch", sa.LargeBinary),
        sa.PrimaryKeyConstraint("day", "page", "referrer", name="pk_usage_counts"),
        sa.CheckConstraint("views >= 0 AND visitors >= 0", name=op.f("ck_usage_counts_counts")),
    )
    # Who counts merges, and takes nothing away.
    op.execute("GRANT SELECT, INSERT ON usage_keys TO vault_ingest")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE (views, visitors, sketch) ON usage_counts TO vault_ingest"
    )
    # Who reads sees no sketch and no key.
    op.execute(
        "GRANT SELECT (day, page, referrer, views, visitors) ON usage_counts TO vault_console"
    )
    # The worker destroys keys and sketches; TRUNCATE leaves no bytes of a key in the table's file.
    op.execute("GRANT SELECT, INSERT, TRUNCATE ON usage_keys TO vault_worker")
    op.execute("GRANT SELECT, UPDATE (sketch), DELETE ON usage_counts TO vault_worker")


def downgrade() -> None:
    op.drop_table("usage_counts")
    op.drop_table("usage_keys")
