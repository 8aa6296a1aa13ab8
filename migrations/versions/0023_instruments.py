"""Hold grants to what instruments say; let requests be annulled, and superseded by amendments.

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0023"
down_revision: Final = "0022"
branch_labels: Final = None
depends_on: Final = None

STATES: Final = (
    "state IN ('draft', 'submitted', 'determined', 'approved', 'active',"
    " 'spent', 'expired', 'revoked', 'denied', 'withdrawn'{more})"
)
KINDS: Final = "kind IN ('determine', 'approve', 'deny', 'revoke', 'withdraw'{more})"
SAID: Final = "bucket, disclosure, tokens, customer, classes, begins, ends"


def upgrade() -> None:
    op.create_table(
        "disclosure_instruments",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("disclosure", sa.Text, nullable=False),
        sa.Column("tokens", postgresql.ARRAY(sa.Text)),
        sa.Column("customer", sa.Text),
        sa.Column("classes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("begins", sa.Date),
        sa.Column("ends", sa.Date),
        # One determination, and so one instrument, for each request.
        sa.PrimaryKeyConstraint("bucket", "disclosure", name="pk_disclosure_instruments"),
        sa.ForeignKeyConstraint(
            ["bucket", "disclosure"],
            ["disclosures.bucket", "disclosures.id"],
            name="fk_disclosure_instruments_bucket_disclosure",
        ),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_disclosure_instruments_bucket")
        ),
    )
    # The request in whose place this one is asked for; read by its id, so it needs no index.
    op.add_column("disclosures", sa.Column("amends", sa.Text))
    op.create_check_constraint(op.f("ck_disclosures_amends"), "disclosures", "amends <> id")
    _constrain(states=", 'superseded'", kinds=", 'annul'")
    # What was said of an instrument never changes; the signing side reads it for itself.
    op.execute(f"GRANT SELECT, INSERT ({SAID}) ON disclosure_instruments TO vault_console")
    op.execute("GRANT SELECT ON disclosure_instruments TO vault_reveal")
    op.execute("GRANT INSERT (amends) ON disclosures TO vault_console")
    # Who uploads a document again has it wait anew.
    op.execute("GRANT UPDATE (created_at) ON evidence_documents TO vault_console")
    op.execute("GRANT SELECT (amends) ON disclosures TO vault_worker")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (created_at) ON evidence_documents FROM vault_console")
    # What an older release has no word for had come to its end anyway.
    op.execute("UPDATE disclosures SET state = 'withdrawn' WHERE state = 'superseded'")
    op.execute("DELETE FROM disclosure_decisions WHERE kind = 'annul'")
    _constrain(states="", kinds="")
    op.drop_constraint(op.f("ck_disclosures_amends"), "disclosures", type_="check")
    op.drop_column("disclosures", "amends")
    op.drop_table("disclosure_instruments")


def _constrain(*, states: str, kinds: str) -> None:
    for table, name, condition in (
        ("disclosures", "state", STATES.format(more=states)),
        ("disclosure_decisions", "kind", KINDS.format(more=kinds)),
    ):
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
