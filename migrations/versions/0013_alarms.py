"""Create what alarms and webhooks need: marks of alarms, the outbox of messages, deliveries.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0013"
down_revision: Final = "0012"
branch_labels: Final = None
depends_on: Final = None

EVERYBODY: Final = "vault_ingest, vault_reveal, vault_console, vault_worker"
NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)
UUID: Final = postgresql.UUID(as_uuid=True)


def upgrade() -> None:
    op.create_table(
        "alarms",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False, server_default=sa.text("1")),
        sa.Column("raised_at", TIME, nullable=False, server_default=NOW),
        sa.Column("quiet_until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", "subject", name="pk_alarms"),
    )
    op.create_table(
        "webhook_outbox",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", UUID, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("bucket", "id", name="pk_webhook_outbox"),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_webhook_outbox_bucket")),
        sa.CheckConstraint("octet_length(body) <= 16384", name=op.f("ck_webhook_outbox_body_size")),
    )
    # The order in which the worker takes messages.
    op.create_index("ix_webhook_outbox_created_at", "webhook_outbox", ["created_at", "id"])
    _deliveries()
    _grants()


def downgrade() -> None:
    for table in ("webhook_deliveries", "webhook_outbox", "alarms"):
        op.drop_table(table)


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", UUID, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'waiting'")),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("next_at", TIME, nullable=False, server_default=NOW),
        sa.Column("ended_at", TIME),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("bucket", "id", "endpoint", name="pk_webhook_deliveries"),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_webhook_deliveries_bucket")
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'delivered', 'dead')", name=op.f("ck_webhook_deliveries_state")
        ),
        sa.CheckConstraint(
            "(state = 'waiting') = (ended_at IS NULL)", name=op.f("ck_webhook_deliveries_ended")
        ),
    )
    # What is due to an endpoint; holds only what waits.
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["endpoint", "next_at"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    # The operator's list, newest first, and the search for one message.
    op.create_index("ix_webhook_deliveries_id", "webhook_deliveries", ["id", "endpoint"])
    # The purge of what ended long ago.
    op.create_index(
        "ix_webhook_deliveries_ended_at",
        "webhook_deliveries",
        ["state", "ended_at"],
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )


def _grants() -> None:
    # Whoever finds an alarm raises it.
    op.execute(f"GRANT SELECT ON alarms TO {EVERYBODY}")
    op.execute(
        "GRANT INSERT (name, subject, quiet_until), UPDATE (raised_at, quiet_until, times)"
        f" ON alarms TO {EVERYBODY}"
    )
    # Whoever writes a message can neither read it back nor take it away.
    op.execute(f"GRANT INSERT (bucket, id, type, body) ON webhook_outbox TO {EVERYBODY}")
    # SELECT FOR UPDATE needs the right to update a column; there is none that means anything.
    op.execute("GRANT SELECT, DELETE, UPDATE (created_at) ON webhook_outbox TO vault_worker")
    op.execute(
        "GRANT SELECT, DELETE, INSERT (bucket, id, endpoint, type, body, created_at),"
        " UPDATE (state, attempts, next_at, ended_at, last_status, last_error)"
        " ON webhook_deliveries TO vault_worker"
    )
    op.execute(
        "GRANT SELECT (bucket, id, endpoint, type, state, attempts, created_at, next_at, ended_at,"
        " last_status, last_error), UPDATE (state, attempts, next_at, ended_at)"
        " ON webhook_deliveries TO vault_console"
    )
