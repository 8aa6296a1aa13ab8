"""Create disclosure requests, the decisions on them, and the tokens issued for them.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0006"
down_revision: Final = "0005"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)

STATES: Final = (
    "state IN ('draft', 'submitted', 'determined', 'approved', 'active',"
    " 'spent', 'expired', 'revoked', 'denied', 'withdrawn')"
)
# What a requester says of a request, once; a scope cannot change afterwards.
REQUESTED: Final = (
    "bucket, id, state, requester, ground, category, clause, policy, recipient_kind, tokens,"
    " customer, classes, fields, uses, uses_left, duration_seconds, approvals_needed,"
    " determination_needed, details_envelope, details_wrapped_key, details_kek,"
    " details_kek_version, details_salt, submitted_at"
)
# What the end of a grant is told from, and what rewrapping needs: all but the evidence itself.
WITHOUT_EVIDENCE: Final = (
    "bucket, id, state, requester, ground, category, clause, policy, recipient_kind, tokens,"
    " customer, classes, fields, uses, uses_left, duration_seconds, approvals_needed,"
    " determination_needed, details_wrapped_key, details_kek, details_kek_version, created_at,"
    " submitted_at, activated_at, expires_at, ended_at"
)
DECIDED: Final = (
    "bucket, disclosure, kind, principal, requester, comment_envelope, comment_wrapped_key,"
    " comment_kek, comment_kek_version"
)


def upgrade() -> None:
    _disclosures()
    _decisions()
    _tokens()
    _grants()


def downgrade() -> None:
    for table in ("disclosure_tokens", "disclosure_decisions", "disclosures"):
        op.drop_table(table)


def _disclosures() -> None:
    op.create_table(
        "disclosures",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("ground", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("clause", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("recipient_kind", sa.Text, nullable=False),
        sa.Column("tokens", postgresql.ARRAY(sa.Text)),
        sa.Column("customer", sa.Text),
        sa.Column("classes", postgresql.ARRAY(sa.Text)),
        sa.Column("fields", postgresql.ARRAY(sa.Text)),
        sa.Column("uses", sa.Integer, nullable=False),
        sa.Column("uses_left", sa.Integer, nullable=False),
        sa.Column("duration_seconds", sa.Integer, nullable=False),
        sa.Column("approvals_needed", sa.SmallInteger, nullable=False),
        sa.Column("determination_needed", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("details_envelope", sa.LargeBinary, nullable=False),
        sa.Column("details_wrapped_key", sa.Text, nullable=False),
        sa.Column("details_kek", sa.Text, nullable=False),
        sa.Column("details_kek_version", sa.Integer, nullable=False),
        sa.Column("details_salt", sa.LargeBinary),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.Column("submitted_at", TIME),
        sa.Column("activated_at", TIME),
        sa.Column("expires_at", TIME),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("bucket", "id", name="pk_disclosures"),
        # What the decisions' foreign key refers to, so that they know the requester.
        sa.UniqueConstraint("bucket", "id", "requester", name="uq_disclosures_bucket_id_requester"),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_disclosures_bucket")),
        sa.CheckConstraint(STATES, name=op.f("ck_disclosures_state")),
        sa.CheckConstraint(
            "(tokens IS NULL) <> (customer IS NULL)", name=op.f("ck_disclosures_one_scope")
        ),
        sa.CheckConstraint(
            "(customer IS NULL) = (classes IS NULL)",
            name=op.f("ck_disclosures_customer_and_classes"),
        ),
        sa.CheckConstraint(
            "uses > 0 AND uses_left >= 0 AND uses_left <= uses", name=op.f("ck_disclosures_uses")
        ),
        sa.CheckConstraint("approvals_needed > 0", name=op.f("ck_disclosures_needs_approval")),
        sa.CheckConstraint(
            "state <> 'active' OR expires_at IS NOT NULL", name=op.f("ck_disclosures_active_ends")
        ),
    )
    # A requester's own list, and the officers' list of what waits.
    op.create_index("ix_disclosures_requester", "disclosures", ["requester"])
    op.create_index("ix_disclosures_state", "disclosures", ["state"])


def _decisions() -> None:
    op.create_table(
        "disclosure_decisions",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("disclosure", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("comment_envelope", sa.LargeBinary),
        sa.Column("comment_wrapped_key", sa.Text),
        sa.Column("comment_kek", sa.Text),
        sa.Column("comment_kek_version", sa.Integer),
        sa.Column("at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint(
            "bucket", "disclosure", "kind", "principal", name="pk_disclosure_decisions"
        ),
        sa.ForeignKeyConstraint(
            ["bucket", "disclosure", "requester"],
            ["disclosures.bucket", "disclosures.id", "disclosures.requester"],
            name="fk_disclosure_decisions_bucket_disclosure_requester",
        ),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_disclosure_decisions_bucket")
        ),
        sa.CheckConstraint(
            "principal <> requester OR kind = 'withdraw'",
            name=op.f("ck_disclosure_decisions_not_own_request"),
        ),
        sa.CheckConstraint(
            "kind IN ('determine', 'approve', 'deny', 'revoke', 'withdraw')",
            name=op.f("ck_disclosure_decisions_kind"),
        ),
    )


def _tokens() -> None:
    op.create_table(
        "disclosure_tokens",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("jti", sa.Text, nullable=False),
        sa.Column("disclosure", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("issued_at", TIME, nullable=False, server_default=NOW),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME),
        sa.Column("entry", postgresql.UUID(as_uuid=True)),
        sa.PrimaryKeyConstraint("bucket", "jti", name="pk_disclosure_tokens"),
        sa.ForeignKeyConstraint(
            ["bucket", "disclosure"],
            ["disclosures.bucket", "disclosures.id"],
            name="fk_disclosure_tokens_bucket_disclosure",
        ),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_disclosure_tokens_bucket")
        ),
        sa.CheckConstraint(
            "(used_at IS NULL) = (entry IS NULL)", name=op.f("ck_disclosure_tokens_use_has_entry")
        ),
    )
    # The tokens of one grant, for its page and for the foreign key.
    op.create_index(
        "ix_disclosure_tokens_disclosure", "disclosure_tokens", ["bucket", "disclosure"]
    )


def _grants() -> None:
    op.execute(
        f"GRANT SELECT, INSERT ({REQUESTED}),"
        " UPDATE (state, submitted_at, activated_at, expires_at, ended_at)"
        " ON disclosures TO vault_console"
    )
    op.execute(f"GRANT SELECT, INSERT ({DECIDED}) ON disclosure_decisions TO vault_console")
    op.execute("GRANT SELECT, UPDATE (state, uses_left, ended_at) ON disclosures TO vault_reveal")
    op.execute(
        "GRANT SELECT, INSERT (bucket, jti, disclosure, holder, issued_at, expires_at),"
        " UPDATE (used_at, entry) ON disclosure_tokens TO vault_reveal"
    )
    op.execute(
        "GRANT SELECT (bucket, disclosure, kind, principal, requester, at)"
        " ON disclosure_decisions TO vault_reveal"
    )
    op.execute(
        f"GRANT SELECT ({WITHOUT_EVIDENCE}), UPDATE (state, ended_at, details_wrapped_key,"
        " details_kek_version) ON disclosures TO vault_worker"
    )
