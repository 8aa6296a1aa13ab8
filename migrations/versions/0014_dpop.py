"""Let grants demand proof of possession; keep nonces, and the proofs that were used.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0014"
down_revision: Final = "0013"
branch_labels: Final = None
depends_on: Final = None

TIME: Final = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column(
        "disclosures",
        sa.Column("proof_of_possession", sa.Integer, nullable=False, server_default=sa.text("0")),
    )
    op.create_table(
        "dpop_nonces",
        sa.Column("slot", sa.BigInteger, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("slot", name="pk_dpop_nonces"),
    )
    op.create_table(
        "dpop_proofs",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("bucket", "digest", name="pk_dpop_proofs"),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_dpop_proofs_bucket")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_dpop_proofs_digest")),
    )
    # What housekeeping forgets, the oldest first.
    op.create_index("ix_dpop_proofs_until", "dpop_proofs", ["until"])
    _grants()


def downgrade() -> None:
    op.drop_table("dpop_proofs")
    op.drop_table("dpop_nonces")
    op.drop_column("disclosures", "proof_of_possession")


def _grants() -> None:
    # Nobody may change a row, and the side that spends proofs may forget none.
    op.execute("GRANT SELECT, INSERT ON dpop_nonces, dpop_proofs TO vault_reveal")
    op.execute("GRANT SELECT, DELETE ON dpop_nonces, dpop_proofs TO vault_worker")
    op.execute("GRANT INSERT (proof_of_possession) ON disclosures TO vault_console")
    op.execute("GRANT SELECT (proof_of_possession) ON disclosures TO vault_worker")
