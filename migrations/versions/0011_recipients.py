"""Create recipients, and bind disclosure requests to them, their keys and a way of delivery.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0011"
down_revision: Final = "0010"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)

WRITTEN: Final = (
    "id, kind, created_by, public_key, thumbprint, details_envelope, details_wrapped_key,"
    " details_kek, details_kek_version, details_salt"
)
BOUND: Final = "recipient, recipient_key, delivery"


def upgrade() -> None:
    op.create_table(
        "recipients",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("public_key", sa.Text),
        sa.Column("thumbprint", sa.Text),
        sa.Column("details_envelope", sa.LargeBinary, nullable=False),
        sa.Column("details_wrapped_key", sa.Text, nullable=False),
        sa.Column("details_kek", sa.Text, nullable=False),
        sa.Column("details_kek_version", sa.Integer, nullable=False),
        sa.Column("details_salt", sa.LargeBinary),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("id", name="pk_recipients"),
        sa.CheckConstraint(
            "(public_key IS NULL) = (thumbprint IS NULL)",
            name=op.f("ck_recipients_key_has_thumbprint"),
        ),
    )
    op.add_column("disclosures", sa.Column("recipient", sa.Text))
    op.add_column("disclosures", sa.Column("recipient_key", sa.Text))
    op.add_column(
        "disclosures",
        sa.Column("delivery", sa.Text, nullable=False, server_default=sa.text("'holder'")),
    )
    op.create_foreign_key(
        "fk_disclosures_recipient", "disclosures", "recipients", ["recipient"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_disclosures_delivery"),
        "disclosures",
        "delivery IN ('holder', 'package')"
        " AND (delivery = 'holder' OR (recipient IS NOT NULL AND recipient_key IS NOT NULL))",
    )
    _grants()


def downgrade() -> None:
    op.drop_constraint(op.f("ck_disclosures_delivery"), "disclosures", type_="check")
    op.drop_constraint("fk_disclosures_recipient", "disclosures", type_="foreignkey")
    for column in ("delivery", "recipient_key", "recipient"):
        op.drop_column("disclosures", column)
    op.drop_table("recipients")


def _grants() -> None:
    # Nobody may change one: who was approved is who is served.
    op.execute(f"GRANT SELECT, INSERT ({WRITTEN}) ON recipients TO vault_console")
    op.execute("GRANT SELECT (id, public_key) ON recipients TO vault_reveal")
    op.execute(
        "GRANT SELECT (id, details_wrapped_key, details_kek, details_kek_version),"
        " UPDATE (details_wrapped_key, details_kek_version) ON recipients TO vault_worker"
    )
    op.execute(f"GRANT INSERT ({BOUND}) ON disclosures TO vault_console")
    op.execute(f"GRANT SELECT ({BOUND}) ON disclosures TO vault_worker")
