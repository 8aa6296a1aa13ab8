"""Changes that customers asked for, and the helpdesk's messages that asked."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from vault_service.storage.tables.columns import (
    bound,
    bucket,
    bucket_range,
    metadata,
    of_customer,
    time,
)

# A change that a customer asked for; its value is sealed for the version that it would become.
modifications: Final = Table(
    "modifications",
    metadata,
    bucket(),
    Column("id", Text, nullable=False),
    Column("customer", Text, nullable=False),
    Column("token", Text),
    Column("class", Text),
    Column("record_version", Integer),
    Column("state", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("ticket", Text, nullable=False),
    Column("opened_by", Text, nullable=False),
    Column("proposed_by", Text),
    Column("confirmed_by", Text),
    Column("confirmed_how", Text),
    Column("ended_by", Text),
    Column("reason", Text),
    Column("mask", JSONB),
    Column("envelope", LargeBinary),
    Column("wrapped_key", Text),
    Column("kek", Text),
    Column("kek_version", Integer),
    Column("fingerprint", LargeBinary),
    Column("fingerprint_version", Integer),
    Column("variant", Text),
    *bound(),
    time("created_at", nullable=False, now=True),
    time("expires_at", nullable=False),
    time("ended_at"),
    # Why the customer is one made for an unknown sender.
    Column("unassigned", Text),
    PrimaryKeyConstraint("bucket", "id"),
    of_customer(),
    ForeignKeyConstraint(["bucket", "token"], ["records.bucket", "records.token"]),
    bucket_range(),
    CheckConstraint(
        "state IN ('open', 'proposed', 'confirmed', 'applied', 'rejected', 'withdrawn', 'expired',"
        " 'superseded')",
        name="state",
    ),
    CheckConstraint(
        " AND ".join(
            f"(state IN ('proposed', 'confirmed')) = ({column} IS NOT NULL)"
            for column in ("envelope", "wrapped_key", "kek", "kek_version", "fingerprint")
        ),
        name="sealed_while_pending",
    ),
    CheckConstraint(
        "(ended_at IS NULL) = (state IN ('open', 'proposed', 'confirmed'))", name="ended"
    ),
    CheckConstraint(
        "state NOT IN ('confirmed', 'applied') OR confirmed_by IS NOT NULL", name="confirmed"
    ),
    CheckConstraint(
        "state <> 'applied' OR class NOT IN ('payment_card', 'telephone')"
        " OR ended_by <> confirmed_by",
        name="second_person",
    ),
    Index(
        "uq_modifications_pending",
        "bucket",
        "customer",
        "ticket",
        "token",
        "fingerprint",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index("ix_modifications_token", "bucket", "token"),
    Index("ix_modifications_pending", "expires_at", postgresql_where=text("ended_at IS NULL")),
    Index(
        "ix_modifications_unassigned",
        "expires_at",
        "id",
        postgresql_where=text("unassigned IS NOT NULL AND ended_at IS NULL"),
    ),
)

# Messages of the helpdesk, for as long as one could be sent again.
helpdesk_messages: Final = Table(
    "helpdesk_messages",
    metadata,
    bucket(),
    Column("id", Text, nullable=False),
    time("received_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "id"),
    bucket_range(),
    Index("ix_helpdesk_messages_received_at", "received_at"),
)
