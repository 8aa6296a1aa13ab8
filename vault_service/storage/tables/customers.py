"""Customers, and what holds for all that one has: links, legal holds, erasure."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from vault_service.storage.tables.columns import (
    bucket,
    bucket_range,
    metadata,
    of_customer,
    sealed,
    time,
)

customers: Final = Table(
    "customers",
    metadata,
    bucket(),
    Column("id", Text, nullable=False),
    # The id of a customer with a reference is derived from the reference's fingerprint, so the
    # primary key is what makes "the same reference gives the same customer" true in a race.
    Column("has_reference", Integer, nullable=False, server_default=text("0")),
    time("created_at", nullable=False, now=True),
    time("erased_at"),
    # Until when legal holds keep all of him, or some of his records, from being erased; `infinity`
    # for a hold without an end. Written by `settle_holds` alone.
    time("held_until"),
    time("part_held_until"),
    PrimaryKeyConstraint("bucket", "id"),
    bucket_range(),
)

# Two customers who were found to be one; both directions stand.
customer_links: Final = Table(
    "customer_links",
    metadata,
    bucket(),
    Column("customer", Text, nullable=False),
    Column("other_bucket", SmallInteger, nullable=False),
    Column("other", Text, nullable=False),
    Column("linked_by", Text, nullable=False),
    time("linked_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "customer", "other"),
    of_customer(),
    bucket_range(),
    CheckConstraint("customer <> other", name="two"),
)

holds: Final = Table(
    "holds",
    metadata,
    bucket(),
    Column("id", Text, nullable=False),
    Column("customer", Text, nullable=False),
    # None for a hold on all that he has, now and later.
    Column("tokens", ARRAY(Text)),
    Column("placed_by", Text, nullable=False),
    time("placed_at", nullable=False, now=True),
    time("until"),
    # Reason and reference: one JSON document, sealed under the KEK `evidence`.
    *sealed("details"),
    Column("details_salt", LargeBinary),
    Column("released_by", Text),
    time("released_at"),
    # Why it was released, sealed alike.
    *sealed("release", nullable=True),
    PrimaryKeyConstraint("bucket", "id"),
    of_customer(),
    bucket_range(),
    CheckConstraint("until > placed_at", name="ends_later"),
    CheckConstraint("cardinality(tokens) > 0", name="names_some"),
    CheckConstraint(
        "(released_by IS NULL) = (released_at IS NULL)"
        " AND (released_by IS NULL) = (release_envelope IS NULL)"
        " AND (released_by IS NULL) = (release_wrapped_key IS NULL)"
        " AND (released_by IS NULL) = (release_kek IS NULL)"
        " AND (released_by IS NULL) = (release_kek_version IS NULL)",
        name="released_whole",
    ),
    CheckConstraint("released_by <> placed_by", name="released_by_another"),
    Index("ix_holds_customer", "bucket", "customer"),
)

erasures: Final = Table(
    "erasures",
    metadata,
    bucket(),
    Column("customer", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'requested'")),
    Column("requested_by", Text, nullable=False),
    time("requested_at", nullable=False, now=True),
    Column("confirmed_by", Text),
    time("started_at"),
    Column("records", BigInteger, nullable=False, server_default=text("0")),
    # When nothing was found for the first time since something was.
    time("clear_at"),
    time("finished_at"),
    # As it was when it finished: the certificate stays what it said.
    Column("backup_horizon_days", Integer),
    Column("entry", UUID(as_uuid=True)),
    PrimaryKeyConstraint("bucket", "customer"),
    of_customer(),
    bucket_range(),
    CheckConstraint("state IN ('requested', 'running', 'done')", name="state"),
    CheckConstraint(
        "(state = 'requested') = (confirmed_by IS NULL)"
        " AND (state = 'requested') = (started_at IS NULL)",
        name="begun",
    ),
    CheckConstraint(
        "(state = 'done') = (finished_at IS NOT NULL) AND (state = 'done') = (entry IS NOT NULL)",
        name="finished",
    ),
    CheckConstraint("confirmed_by <> requested_by", name="confirmed_by_another"),
    Index("ix_erasures_running", "started_at", postgresql_where=text("state = 'running'")),
)
