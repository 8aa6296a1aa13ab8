"""Requests for disclosure: for whom, and what was decided."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from vault_service.storage.tables.columns import (
    bucket,
    bucket_range,
    metadata,
    of_disclosure,
    sealed,
    time,
)

recipients: Final = Table(
    "recipients",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    # A JWK in canonical JSON; the reveal side reckons its thumbprint anew before it seals.
    Column("public_key", Text),
    Column("thumbprint", Text),
    # Name, verification and contact: one JSON document, sealed under the KEK `evidence`.
    *sealed("details"),
    Column("details_salt", LargeBinary),
    time("created_at", nullable=False, now=True),
    CheckConstraint("(public_key IS NULL) = (thumbprint IS NULL)", name="key_has_thumbprint"),
)

disclosures: Final = Table(
    "disclosures",
    metadata,
    bucket(),
    Column("id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requester", Text, nullable=False),
    Column("ground", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("clause", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("recipient_kind", Text, nullable=False),
    Column("recipient", Text, ForeignKey("recipients.id")),
    # The thumbprint that the officers approved, so that the record's key cannot be swapped.
    Column("recipient_key", Text),
    Column("delivery", Text, nullable=False, server_default=text("'holder'")),
    # The request in whose place this one is asked for.
    Column("amends", Text),
    Column("proof_of_possession", Integer, nullable=False, server_default=text("0")),
    Column("tokens", ARRAY(Text)),
    Column("customer", Text),
    Column("classes", ARRAY(Text)),
    Column("fields", ARRAY(Text)),
    Column("uses", Integer, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("duration_seconds", Integer, nullable=False),
    Column("approvals_needed", SmallInteger, nullable=False),
    Column("determination_needed", Integer, nullable=False, server_default=text("0")),
    # Evidence and the recipient's name: one JSON document, sealed under the KEK `evidence`.
    *sealed("details"),
    Column("details_salt", LargeBinary),
    time("created_at", nullable=False, now=True),
    time("submitted_at"),
    time("activated_at"),
    time("expires_at"),
    time("ended_at"),
    # When the customer may be told, in clear because the evidence that says it is sealed.
    Column("notice_rule", Text, nullable=False, server_default=text("'unknown'")),
    time("notice_after"),
    # The classes of what was asked for, also where the scope names tokens.
    Column("scope_classes", ARRAY(Text)),
    PrimaryKeyConstraint("bucket", "id"),
    UniqueConstraint("bucket", "id", "requester"),
    CheckConstraint(
        "notice_rule IN ('at_once', 'after_end', 'after_date', 'unknown')", name="notice_rule"
    ),
    bucket_range(),
    CheckConstraint(
        "state IN ('draft', 'submitted', 'determined', 'approved', 'active',"
        " 'spent', 'expired', 'revoked', 'denied', 'withdrawn', 'superseded')",
        name="state",
    ),
    CheckConstraint(
        "delivery IN ('holder', 'package')"
        " AND (delivery = 'holder' OR (recipient IS NOT NULL AND recipient_key IS NOT NULL))",
        name="delivery",
    ),
    CheckConstraint("(tokens IS NULL) <> (customer IS NULL)", name="one_scope"),
    CheckConstraint("(customer IS NULL) = (classes IS NULL)", name="customer_and_classes"),
    CheckConstraint("uses > 0 AND uses_left >= 0 AND uses_left <= uses", name="uses"),
    CheckConstraint("amends <> id", name="amends"),
    CheckConstraint("approvals_needed > 0", name="needs_approval"),
    CheckConstraint("state <> 'active' OR expires_at IS NOT NULL", name="active_ends"),
    Index("ix_disclosures_requester", "requester"),
    Index("ix_disclosures_state", "state"),
)

disclosure_decisions: Final = Table(
    "disclosure_decisions",
    metadata,
    bucket(),
    Column("disclosure", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("principal", Text, nullable=False),
    # Copied from the disclosure and held equal to it by the foreign key, so that the row itself
    # can say that nobody decides on a request of his own.
    Column("requester", Text, nullable=False),
    *sealed("comment", nullable=True),
    time("at", nullable=False, now=True),
    # Nobody approves twice.
    PrimaryKeyConstraint("bucket", "disclosure", "kind", "principal"),
    ForeignKeyConstraint(
        ["bucket", "disclosure", "requester"],
        ["disclosures.bucket", "disclosures.id", "disclosures.requester"],
    ),
    bucket_range(),
    CheckConstraint("principal <> requester OR kind = 'withdraw'", name="not_own_request"),
    CheckConstraint(
        "kind IN ('determine', 'approve', 'deny', 'revoke', 'withdraw', 'annul')", name="kind"
    ),
)

# What the officer who determined says of the instrument; the grant is held to it.
disclosure_instruments: Final = Table(
    "disclosure_instruments",
    metadata,
    bucket(),
    Column("disclosure", Text, nullable=False),
    Column("tokens", ARRAY(Text)),
    Column("customer", Text),
    Column("classes", ARRAY(Text), nullable=False),
    Column("begins", Date),
    Column("ends", Date),
    PrimaryKeyConstraint("bucket", "disclosure"),
    of_disclosure(),
    bucket_range(),
)
