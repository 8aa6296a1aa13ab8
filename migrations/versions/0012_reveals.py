"""Create the accounting of reveals, and say on each request when its customer may be told.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0012"
down_revision: Final = "0011"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)

SAID: Final = "notice_rule, notice_after, scope_classes"
REVEALED: Final = "bucket, customer, entry, grant_bucket, disclosure, tokens, classes, fields"


def upgrade() -> None:
    # The key is what a customer's page walks, newest first; entry ids follow time.
    op.create_table(
        "reveals",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("entry", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("at", TIME, nullable=False, server_default=NOW),
        sa.Column("grant_bucket", sa.SmallInteger, nullable=False),
        sa.Column("disclosure", sa.Text, nullable=False),
        sa.Column("tokens", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("classes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("fields", postgresql.ARRAY(sa.Text)),
        sa.PrimaryKeyConstraint("bucket", "customer", "entry", name="pk_reveals"),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_reveals_bucket")),
        sa.CheckConstraint(
            "cardinality(tokens) > 0 AND cardinality(tokens) = cardinality(classes)",
            name=op.f("ck_reveals_classes_of_tokens"),
        ),
    )
    # What was made before this and says nothing is told to nobody: `unknown` never comes to pass.
    op.add_column(
        "disclosures",
        sa.Column("notice_rule", sa.Text, nullable=False, server_default=sa.text("'unknown'")),
    )
    op.add_column("disclosures", sa.Column("notice_after", TIME))
    op.add_column("disclosures", sa.Column("scope_classes", postgresql.ARRAY(sa.Text)))
    op.create_check_constraint(
        op.f("ck_disclosures_notice_rule"),
        "disclosures",
        "notice_rule IN ('at_once', 'after_end', 'after_date', 'unknown')",
    )
    op.execute(f"GRANT INSERT ({SAID}) ON disclosures TO vault_console")
    # Written by the reveal itself and never changed; not even the writer may read it.
    op.execute(f"GRANT INSERT ({REVEALED}) ON reveals TO vault_reveal")
    op.execute("GRANT SELECT ON reveals TO vault_console")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_disclosures_notice_rule"), "disclosures", type_="check")
    for column in ("scope_classes", "notice_after", "notice_rule"):
        op.drop_column("disclosures", column)
    op.drop_table("reveals")
