"""Tables of the vault, as SQLAlchemy Core knows them.

`bucket` stands first in every key of a table whose rows belong to a customer, a disclosure or a
request, so that a cluster can distribute by it and a write touches one shard. Directories of the
service itself (principals, API keys, key floors, policies, leases) are small and have none.

This module declares; it runs nothing. Grants and roles live in the migrations.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

BUCKETS: Final = 1024

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _bucket() -> Column[int]:
    return Column("bucket", SmallInteger, nullable=False)


def _bucket_range() -> CheckConstraint:
    return CheckConstraint(f"bucket >= 0 AND bucket < {BUCKETS}", name="bucket")


def _time(name: str, *, nullable: bool = True, now: bool = False) -> Column[object]:
    return Column(
        name,
        TIMESTAMP(timezone=True),
        nullable=nullable,
        server_default=func.now() if now else None,
    )


customers: Final = Table(
    "customers",
    metadata,
    _bucket(),
    Column("id", Text, nullable=False),
    # The id of a customer with a reference is derived from the reference's fingerprint, so the
    # primary key is what makes "the same reference gives the same customer" true in a race.
    Column("has_reference", Integer, nullable=False, server_default=text("0")),
    _time("created_at", nullable=False, now=True),
    _time("erased_at"),
    # Until when legal holds keep all of him, or some of his records, from being erased; `infinity`
    # for a hold without an end. Written by `settle_holds` alone.
    _time("held_until"),
    _time("part_held_until"),
    PrimaryKeyConstraint("bucket", "id"),
    _bucket_range(),
)

# The columns that only the reveal and rotation roles may read.
SEALED_COLUMNS: Final = ("envelope", "wrapped_key", "envelope_hash", "bound_by", "bound_path")

records: Final = Table(
    "records",
    metadata,
    _bucket(),
    Column("token", Text, nullable=False),
    Column("customer", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("format", Text, nullable=False),
    # What tells two records of one fingerprint apart without being secret: token format, and a
    # card's expiry. Part of the deduplication key.
    Column("variant", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("mask", JSONB, nullable=False),
    Column("fingerprint", LargeBinary),
    Column("fingerprint_version", Integer),
    Column("envelope", LargeBinary),
    Column("wrapped_key", Text),
    Column("kek", Text),
    Column("kek_version", Integer),
    Column("metadata", JSONB),
    Column("reference", Text),
    _time("created_at", nullable=False, now=True),
    _time("expires_at"),
    _time("erased_at"),
    _time("held_until"),
    # What binds wrapped key and envelope to a ledger entry: services.bindings.
    Column("envelope_hash", LargeBinary, Computed("sha256(envelope)", persisted=True)),
    Column("bound_by", UUID(as_uuid=True)),
    Column("bound_path", LargeBinary),
    CheckConstraint("(bound_by IS NULL) = (bound_path IS NULL)", name="bound"),
    PrimaryKeyConstraint("bucket", "token"),
    # Deduplication, and by its prefix the listing of a customer's records.
    UniqueConstraint("bucket", "customer", "class", "fingerprint", "variant"),
    ForeignKeyConstraint(["bucket", "customer"], ["customers.bucket", "customers.id"]),
    _bucket_range(),
    # An erased record keeps its name, so that the token is never given out again, and nothing else.
    CheckConstraint(
        "(erased_at IS NULL) = (envelope IS NOT NULL)"
        " AND (erased_at IS NULL) = (wrapped_key IS NOT NULL)"
        " AND (erased_at IS NULL) = (kek IS NOT NULL)"
        " AND (erased_at IS NULL) = (kek_version IS NOT NULL)"
        " AND (erased_at IS NULL) = (fingerprint IS NOT NULL)",
        name="erased_or_whole",
    ),
    # Search by value: exact match of the keyed fingerprint over all customers.
    Index(
        "ix_records_fingerprint", "fingerprint", postgresql_where=text("fingerprint IS NOT NULL")
    ),
    # The purge of expired records; holds only those that can expire.
    Index("ix_records_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
)

# Chunks of records of the class `communication`, whose envelope is the chunks' header. What was not
# kept is an upload under way, or one that died or was erased: it has no key.
communications: Final = Table(
    "communications",
    metadata,
    _bucket(),
    Column("token", Text, nullable=False),
    Column("customer", Text, nullable=False),
    # Of what was sealed, in bytes.
    Column("size", BigInteger),
    _time("started_at", nullable=False, now=True),
    _time("kept_at"),
    PrimaryKeyConstraint("bucket", "token"),
    ForeignKeyConstraint(["bucket", "customer"], ["customers.bucket", "customers.id"]),
    _bucket_range(),
    CheckConstraint("(kept_at IS NULL) = (size IS NULL)", name="kept"),
    Index("ix_communications_customer", "bucket", "customer", "kept_at", "token"),
    Index("ix_communications_waiting", "started_at", postgresql_where=text("kept_at IS NULL")),
)

communication_chunks: Final = Table(
    "communication_chunks",
    metadata,
    _bucket(),
    Column("token", Text, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("bucket", "token", "number"),
    ForeignKeyConstraint(
        ["bucket", "token"],
        ["communications.bucket", "communications.token"],
        ondelete="CASCADE",
    ),
    _bucket_range(),
)

# Entries of one customer and month, sealed together; a partition for each month.
activity_segments: Final = Table(
    "activity_segments",
    metadata,
    _bucket(),
    Column("month", Date, nullable=False),
    Column("id", Text, nullable=False),
    # No foreign key: dropping a month would lock all customers.
    Column("customer", Text, nullable=False),
    _time("first_at", nullable=False),
    _time("last_at", nullable=False),
    Column("marks", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("wrapped_key", Text, nullable=False),
    Column("kek", Text, nullable=False),
    Column("kek_version", Integer, nullable=False),
    Column("envelope_hash", LargeBinary, Computed("sha256(envelope)", persisted=True)),
    Column("bound_by", UUID(as_uuid=True)),
    Column("bound_path", LargeBinary),
    _time("recorded_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "month", "id"),
    _bucket_range(),
    CheckConstraint("octet_length(marks) > 0 AND mod(octet_length(marks), 10) = 0", name="marks"),
    CheckConstraint("first_at <= last_at", name="ordered"),
    CheckConstraint("(bound_by IS NULL) = (bound_path IS NULL)", name="bound"),
    Index("ix_activity_segments_customer", "bucket", "customer", "first_at", "last_at"),
    postgresql_partition_by="RANGE (month)",
)

holds: Final = Table(
    "holds",
    metadata,
    _bucket(),
    Column("id", Text, nullable=False),
    Column("customer", Text, nullable=False),
    # None for a hold on all that he has, now and later.
    Column("tokens", ARRAY(Text)),
    Column("placed_by", Text, nullable=False),
    _time("placed_at", nullable=False, now=True),
    _time("until"),
    # Reason and reference: one JSON document, sealed under the KEK `evidence`.
    Column("details_envelope", LargeBinary, nullable=False),
    Column("details_wrapped_key", Text, nullable=False),
    Column("details_kek", Text, nullable=False),
    Column("details_kek_version", Integer, nullable=False),
    Column("details_salt", LargeBinary),
    Column("released_by", Text),
    _time("released_at"),
    # Why it was released, sealed alike.
    Column("release_envelope", LargeBinary),
    Column("release_wrapped_key", Text),
    Column("release_kek", Text),
    Column("release_kek_version", Integer),
    PrimaryKeyConstraint("bucket", "id"),
    ForeignKeyConstraint(["bucket", "customer"], ["customers.bucket", "customers.id"]),
    _bucket_range(),
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

access_reviews: Final = Table(
    "access_reviews",
    metadata,
    Column("id", Text, primary_key=True),
    _time("opened_at", nullable=False, now=True),
    _time("due", nullable=False),
    _time("overdue_at"),
    _time("completed_at"),
    Index(
        "ix_access_reviews_open",
        text("(completed_at IS NULL)"),
        unique=True,
        postgresql_where=text("completed_at IS NULL"),
    ),
)

access_review_items: Final = Table(
    "access_review_items",
    metadata,
    Column("review", Text, ForeignKey("access_reviews.id"), nullable=False),
    Column("principal", Text, ForeignKey("principals.id"), nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("decision", Text),
    Column("decided_by", Text),
    _time("decided_at"),
    PrimaryKeyConstraint("review", "principal"),
    CheckConstraint("decision IN ('keep', 'remove')", name="decision"),
    CheckConstraint(
        "(decision IS NULL) = (decided_by IS NULL) AND (decision IS NULL) = (decided_at IS NULL)",
        name="decided_whole",
    ),
    CheckConstraint("decided_by <> principal", name="by_another"),
)

erasures: Final = Table(
    "erasures",
    metadata,
    _bucket(),
    Column("customer", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'requested'")),
    Column("requested_by", Text, nullable=False),
    _time("requested_at", nullable=False, now=True),
    Column("confirmed_by", Text),
    _time("started_at"),
    Column("records", BigInteger, nullable=False, server_default=text("0")),
    # When nothing was found for the first time since something was.
    _time("clear_at"),
    _time("finished_at"),
    # As it was when it finished: the certificate stays what it said.
    Column("backup_horizon_days", Integer),
    Column("entry", UUID(as_uuid=True)),
    PrimaryKeyConstraint("bucket", "customer"),
    ForeignKeyConstraint(["bucket", "customer"], ["customers.bucket", "customers.id"]),
    _bucket_range(),
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

# Masks of versions that a customer's change replaced; the sealed value itself is not kept.
record_versions: Final = Table(
    "record_versions",
    metadata,
    _bucket(),
    Column("token", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("mask", JSONB, nullable=False),
    Column("modification", Text, nullable=False),
    _time("replaced_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "token", "version"),
    ForeignKeyConstraint(["bucket", "token"], ["records.bucket", "records.token"]),
    _bucket_range(),
)

# A change that a customer asked for; its value is sealed for the version that it would become.
modifications: Final = Table(
    "modifications",
    metadata,
    _bucket(),
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
    Column("envelope_hash", LargeBinary, Computed("sha256(envelope)", persisted=True)),
    Column("bound_by", UUID(as_uuid=True)),
    Column("bound_path", LargeBinary),
    CheckConstraint("(bound_by IS NULL) = (bound_path IS NULL)", name="bound"),
    _time("created_at", nullable=False, now=True),
    _time("expires_at", nullable=False),
    _time("ended_at"),
    # Why the customer is one made for an unknown sender.
    Column("unassigned", Text),
    PrimaryKeyConstraint("bucket", "id"),
    ForeignKeyConstraint(["bucket", "customer"], ["customers.bucket", "customers.id"]),
    ForeignKeyConstraint(["bucket", "token"], ["records.bucket", "records.token"]),
    _bucket_range(),
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
    _bucket(),
    Column("id", Text, nullable=False),
    _time("received_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "id"),
    _bucket_range(),
    Index("ix_helpdesk_messages_received_at", "received_at"),
)

# Two customers who were found to be one; both directions stand.
customer_links: Final = Table(
    "customer_links",
    metadata,
    _bucket(),
    Column("customer", Text, nullable=False),
    Column("other_bucket", SmallInteger, nullable=False),
    Column("other", Text, nullable=False),
    Column("linked_by", Text, nullable=False),
    _time("linked_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "customer", "other"),
    ForeignKeyConstraint(["bucket", "customer"], ["customers.bucket", "customers.id"]),
    _bucket_range(),
    CheckConstraint("customer <> other", name="two"),
)

idempotency: Final = Table(
    "idempotency",
    metadata,
    _bucket(),
    Column("principal", Text, nullable=False),
    Column("key", Text, nullable=False),
    # Keyed MAC of the request body, made in Vault: a plain hash of a card number is not stored.
    Column("request_mac", LargeBinary, nullable=False),
    Column("response", LargeBinary),
    _time("created_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "principal", "key"),
    _bucket_range(),
    Index("ix_idempotency_created_at", "created_at"),
)

# The one version of its fingerprint key that a class is written under; any, without a row.
fingerprint_versions: Final = Table(
    "fingerprint_versions",
    metadata,
    Column("class", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    _time("since", nullable=False, now=True),
)

# How far each part of a re-encryption is; the schema's owner alone has rights on it.
reencryptions: Final = Table(
    "reencryptions",
    metadata,
    Column("run", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("after_bucket", SmallInteger),
    Column("after_token", Text),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    Column("refused", BigInteger, nullable=False, server_default=text("0")),
    _time("started_at", nullable=False, now=True),
    _time("finished_at"),
    _time("certified_at"),
    PrimaryKeyConstraint("run", "shard"),
)

ledger_outbox: Final = Table(
    "ledger_outbox",
    metadata,
    _bucket(),
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("entry", LargeBinary, nullable=False),
    # When it was written, and not when its transaction began: what a row's lock put in order is in
    # this order in the log.
    Column(
        "created_at",
        TIMESTAMP(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    PrimaryKeyConstraint("bucket", "id"),
    _bucket_range(),
    CheckConstraint("octet_length(entry) <= 4096", name="entry_size"),
    # The order in which the sequencer takes entries.
    Index("ix_ledger_outbox_created_at", "created_at"),
)

# The log itself has no bucket: one sequencer writes it, and nothing waits for it.
ledger_tree: Final = Table(
    "ledger_tree",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("origin", Text),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("signed_size", BigInteger, nullable=False),
    _time("unsigned_since"),
    Column("first_leaf", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one"),
    CheckConstraint("octet_length(root) = 32", name="root"),
    CheckConstraint(
        "signed_size <= size AND first_leaf <= size AND mod(first_leaf, 256) = 0", name="sizes"
    ),
)

# The partial tile of each level: the only part of the tree that is ever written twice.
ledger_edge: Final = Table(
    "ledger_edge",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    CheckConstraint(
        "mod(octet_length(hashes), 32) = 0 AND octet_length(hashes) < 8192", name="partial"
    ),
)

ledger_tiles: Final = Table(
    "ledger_tiles",
    metadata,
    Column("level", SmallInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("level", "number"),
    CheckConstraint("octet_length(hashes) = 8192", name="full"),
)

ledger_bundles: Final = Table(
    "ledger_bundles",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # The bundle as tlog-tiles has it, gzip.
    Column("packed", LargeBinary, nullable=False),
    Column("terms", ARRAY(BigInteger), nullable=False),
    _time("first_at", nullable=False),
    _time("last_at", nullable=False),
    Index("ix_ledger_bundles_terms", "terms", postgresql_using="gin"),
)

# The entries of the partial bundle.
ledger_tail: Final = Table(
    "ledger_tail",
    metadata,
    Column("leaf", BigInteger, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
)

ledger_leaves: Final = Table(
    "ledger_leaves",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("leaf", BigInteger, nullable=False),
    Column("wrapped_keys", LargeBinary),
)

ledger_checkpoints: Final = Table(
    "ledger_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
    _time("signed_at", nullable=False, now=True),
)

principals: Final = Table(
    "principals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("roles", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'active'")),
    Column("created_by", Text, nullable=False),
    _time("created_at", nullable=False, now=True),
    # When the rights to ask for plaintext or approve it end, unless somebody reviews them.
    Column(
        "review_due",
        TIMESTAMP(timezone=True),
        nullable=False,
        server_default=text("now() + interval '6 months'"),
    ),
    CheckConstraint("state IN ('active', 'disabled')", name="state"),
    CheckConstraint("cardinality(roles) > 0", name="has_role"),
    # Whether a review has passed is asked with each credential of an officer.
    Index("ix_principals_review_due", "review_due"),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal", Text, ForeignKey("principals.id"), nullable=False, index=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("confirmed_by", Text),
    _time("created_at", nullable=False, now=True),
    _time("confirmed_at"),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
    CheckConstraint("state IN ('pending', 'active', 'revoked')", name="state"),
    # Dual control of keys that can disclose: who made or holds the key does not confirm it.
    CheckConstraint(
        "confirmed_by IS NULL OR (confirmed_by <> created_by AND confirmed_by <> principal)",
        name="confirmed_by_another",
    ),
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
    Column("details_envelope", LargeBinary, nullable=False),
    Column("details_wrapped_key", Text, nullable=False),
    Column("details_kek", Text, nullable=False),
    Column("details_kek_version", Integer, nullable=False),
    Column("details_salt", LargeBinary),
    _time("created_at", nullable=False, now=True),
    CheckConstraint("(public_key IS NULL) = (thumbprint IS NULL)", name="key_has_thumbprint"),
)

disclosures: Final = Table(
    "disclosures",
    metadata,
    _bucket(),
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
    Column("details_envelope", LargeBinary, nullable=False),
    Column("details_wrapped_key", Text, nullable=False),
    Column("details_kek", Text, nullable=False),
    Column("details_kek_version", Integer, nullable=False),
    Column("details_salt", LargeBinary),
    _time("created_at", nullable=False, now=True),
    _time("submitted_at"),
    _time("activated_at"),
    _time("expires_at"),
    _time("ended_at"),
    # When the customer may be told, in clear because the evidence that says it is sealed.
    Column("notice_rule", Text, nullable=False, server_default=text("'unknown'")),
    _time("notice_after"),
    # The classes of what was asked for, also where the scope names tokens.
    Column("scope_classes", ARRAY(Text)),
    PrimaryKeyConstraint("bucket", "id"),
    UniqueConstraint("bucket", "id", "requester"),
    CheckConstraint(
        "notice_rule IN ('at_once', 'after_end', 'after_date', 'unknown')", name="notice_rule"
    ),
    _bucket_range(),
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
    _bucket(),
    Column("disclosure", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("principal", Text, nullable=False),
    # Copied from the disclosure and held equal to it by the foreign key, so that the row itself
    # can say that nobody decides on a request of his own.
    Column("requester", Text, nullable=False),
    Column("comment_envelope", LargeBinary),
    Column("comment_wrapped_key", Text),
    Column("comment_kek", Text),
    Column("comment_kek_version", Integer),
    _time("at", nullable=False, now=True),
    # Nobody approves twice.
    PrimaryKeyConstraint("bucket", "disclosure", "kind", "principal"),
    ForeignKeyConstraint(
        ["bucket", "disclosure", "requester"],
        ["disclosures.bucket", "disclosures.id", "disclosures.requester"],
    ),
    _bucket_range(),
    CheckConstraint("principal <> requester OR kind = 'withdraw'", name="not_own_request"),
    CheckConstraint(
        "kind IN ('determine', 'approve', 'deny', 'revoke', 'withdraw', 'annul')", name="kind"
    ),
)

# What the officer who determined says of the instrument; the grant is held to it.
disclosure_instruments: Final = Table(
    "disclosure_instruments",
    metadata,
    _bucket(),
    Column("disclosure", Text, nullable=False),
    Column("tokens", ARRAY(Text)),
    Column("customer", Text),
    Column("classes", ARRAY(Text), nullable=False),
    Column("begins", Date),
    Column("ends", Date),
    PrimaryKeyConstraint("bucket", "disclosure"),
    ForeignKeyConstraint(["bucket", "disclosure"], ["disclosures.bucket", "disclosures.id"]),
    _bucket_range(),
)

evidence_documents: Final = Table(
    "evidence_documents",
    metadata,
    _bucket(),
    Column("id", Text, nullable=False),
    Column("uploaded_by", Text, nullable=False),
    # By which a request names it; whoever holds a document can tell that it is here.
    Column("digest", LargeBinary, nullable=False),
    Column("salt", LargeBinary),
    Column("size", Integer, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("wrapped_key", Text, nullable=False),
    Column("kek", Text, nullable=False),
    Column("kek_version", Integer, nullable=False),
    _time("created_at", nullable=False, now=True),
    _time("referred_at"),
    PrimaryKeyConstraint("bucket", "id"),
    _bucket_range(),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint("size > 0", name="size"),
    Index("ix_evidence_documents_uploaded_by", "uploaded_by", "digest"),
    Index(
        "ix_evidence_documents_waiting",
        "created_at",
        postgresql_where=text("referred_at IS NULL"),
    ),
)

evidence_chunks: Final = Table(
    "evidence_chunks",
    metadata,
    _bucket(),
    Column("document", Text, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("bucket", "document", "number"),
    ForeignKeyConstraint(
        ["bucket", "document"],
        ["evidence_documents.bucket", "evidence_documents.id"],
        ondelete="CASCADE",
    ),
    _bucket_range(),
)

# What a request refers to, in the request's bucket.
disclosure_documents: Final = Table(
    "disclosure_documents",
    metadata,
    _bucket(),
    Column("disclosure", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("document_bucket", SmallInteger, nullable=False),
    Column("document", Text, nullable=False),
    PrimaryKeyConstraint("bucket", "disclosure", "field"),
    ForeignKeyConstraint(["bucket", "disclosure"], ["disclosures.bucket", "disclosures.id"]),
    _bucket_range(),
)

evidence_access: Final = Table(
    "evidence_access",
    metadata,
    _bucket(),
    Column("disclosure", Text, nullable=False),
    Column("auditor", Text, nullable=False),
    Column("officer", Text, nullable=False),
    _time("granted_at", nullable=False, now=True),
    _time("expires_at", nullable=False),
    PrimaryKeyConstraint("bucket", "disclosure", "auditor"),
    ForeignKeyConstraint(["bucket", "disclosure"], ["disclosures.bucket", "disclosures.id"]),
    _bucket_range(),
    CheckConstraint("auditor <> officer", name="two_people"),
)

disclosure_tokens: Final = Table(
    "disclosure_tokens",
    metadata,
    _bucket(),
    Column("jti", Text, nullable=False),
    Column("disclosure", Text, nullable=False),
    Column("holder", Text, nullable=False),
    _time("issued_at", nullable=False, now=True),
    _time("expires_at", nullable=False),
    _time("used_at"),
    # The ledger entry of the reveal that used it: each plaintext answer joins to exactly one.
    Column("entry", UUID(as_uuid=True)),
    PrimaryKeyConstraint("bucket", "jti"),
    ForeignKeyConstraint(["bucket", "disclosure"], ["disclosures.bucket", "disclosures.id"]),
    _bucket_range(),
    CheckConstraint("(used_at IS NULL) = (entry IS NULL)", name="use_has_entry"),
    Index("ix_disclosure_tokens_disclosure", "bucket", "disclosure"),
)

reveals: Final = Table(
    "reveals",
    metadata,
    # The customer's, so that all that was told of him lies on one shard.
    _bucket(),
    Column("customer", Text, nullable=False),
    Column("entry", UUID(as_uuid=True), nullable=False),
    _time("at", nullable=False, now=True),
    # Where the grant lies; no foreign key, which would cost the reveal a look-up for each row.
    Column("grant_bucket", SmallInteger, nullable=False),
    Column("disclosure", Text, nullable=False),
    Column("tokens", ARRAY(Text), nullable=False),
    Column("classes", ARRAY(Text), nullable=False),
    Column("fields", ARRAY(Text)),
    PrimaryKeyConstraint("bucket", "customer", "entry"),
    _bucket_range(),
    CheckConstraint(
        "cardinality(tokens) > 0 AND cardinality(tokens) = cardinality(classes)",
        name="classes_of_tokens",
    ),
)

dpop_nonces: Final = Table(
    "dpop_nonces",
    metadata,
    # Minutes since the epoch.
    Column("slot", BigInteger, nullable=False, primary_key=True, autoincrement=False),
    Column("nonce", Text, nullable=False),
)

dpop_proofs: Final = Table(
    "dpop_proofs",
    metadata,
    # Of the grant that the proof was used for.
    _bucket(),
    # SHA-256 of the key's thumbprint and the proof's jti.
    Column("digest", LargeBinary, nullable=False),
    _time("until", nullable=False),
    PrimaryKeyConstraint("bucket", "digest"),
    _bucket_range(),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    Index("ix_dpop_proofs_until", "until"),
)

key_floors: Final = Table(
    "key_floors",
    metadata,
    # Below this version no write is accepted: a rotation raises it first, so that a data key
    # still waiting in some process's pool cannot bring the old version back.
    Column("key", Text, primary_key=True),
    Column("min_version", Integer, nullable=False),
    _time("updated_at", nullable=False, now=True),
)

rotations: Final = Table(
    "rotations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'requested'")),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    # Kept before Vault makes the new version, so that a repetition after a crash makes no second.
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("rewrapped", BigInteger, nullable=False, server_default=text("0")),
    Column("failed", BigInteger, nullable=False, server_default=text("0")),
    _time("requested_at", nullable=False, now=True),
    _time("started_at"),
    # When nothing was found under an older version for the first time.
    _time("clear_at"),
    _time("finished_at"),
    # When the versions that it retired were deleted in Vault.
    _time("trimmed_at"),
    CheckConstraint(
        "state IN ('requested', 'running', 'verifying', 'failed', 'done')", name="state"
    ),
    CheckConstraint("reason IN ('asked', 'period')", name="reason"),
    CheckConstraint(
        "state = 'requested' OR (from_version IS NOT NULL AND to_version > from_version"
        " AND started_at IS NOT NULL)",
        name="begun",
    ),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished"),
    Index("ix_rotations_live", "key", unique=True, postgresql_where=text("state <> 'done'")),
    Index("ix_rotations_requested_at", "requested_at", "id"),
)

key_census: Final = Table(
    "key_census",
    metadata,
    Column("key", Text, primary_key=True),
    # Version -> how many keys lie under it; 0 for those that contradict themselves.
    Column("wrapped", JSONB, nullable=False, server_default=text("'{}'")),
    _time("counted_at", nullable=False, now=True),
    _time("overdue_since"),
)

policies: Final = Table(
    "policies",
    metadata,
    Column("version", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("body", Text, nullable=False),
    _time("first_seen_at", nullable=False, now=True),
)

policy_adoptions: Final = Table(
    "policy_adoptions",
    metadata,
    # Without gaps: it orders what came into force at one moment, and makes rivals meet.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", Text, ForeignKey("policies.version"), nullable=False),
    _time("adopted_at", nullable=False, now=True),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text),
    _time("taken_at"),
)

alarms: Final = Table(
    "alarms",
    metadata,
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("times", BigInteger, nullable=False, server_default=text("1")),
    _time("raised_at", nullable=False, now=True),
    # Until then the same alarm about the same subject is not raised again.
    _time("quiet_until", nullable=False),
    PrimaryKeyConstraint("name", "subject"),
)

webhook_outbox: Final = Table(
    "webhook_outbox",
    metadata,
    _bucket(),
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("type", Text, nullable=False),
    # Exactly the bytes that are signed and sent.
    Column("body", LargeBinary, nullable=False),
    _time("created_at", nullable=False, now=True),
    PrimaryKeyConstraint("bucket", "id"),
    _bucket_range(),
    CheckConstraint("octet_length(body) <= 16384", name="body_size"),
    Index("ix_webhook_outbox_created_at", "created_at", "id"),
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    _bucket(),
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _time("created_at", nullable=False),
    # When it is due; while an attempt is under way, when its lease is over.
    _time("next_at", nullable=False, now=True),
    _time("ended_at"),
    Column("last_status", Integer),
    Column("last_error", Text),
    PrimaryKeyConstraint("bucket", "id", "endpoint"),
    _bucket_range(),
    CheckConstraint("state IN ('waiting', 'delivered', 'dead')", name="state"),
    CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name="ended"),
    Index(
        "ix_webhook_deliveries_due",
        "endpoint",
        "next_at",
        postgresql_where=text("state = 'waiting'"),
    ),
    Index("ix_webhook_deliveries_id", "id", "endpoint"),
    Index(
        "ix_webhook_deliveries_ended_at",
        "state",
        "ended_at",
        postgresql_where=text("ended_at IS NOT NULL"),
    ),
)

disclosure_budgets: Final = Table(
    "disclosure_budgets",
    metadata,
    # Of the principal.
    _bucket(),
    Column("principal", Text, nullable=False),
    Column("ground", Text, nullable=False),
    Column("category", Text, nullable=False),
    # The hour and the day (UTC) that the numbers belong to; in a later one they count as 0.
    _time("hour_at", nullable=False),
    Column("hour_spent", BigInteger, nullable=False),
    _time("day_at", nullable=False),
    Column("day_spent", BigInteger, nullable=False),
    PrimaryKeyConstraint("bucket", "principal", "ground", "category"),
    _bucket_range(),
    CheckConstraint("hour_spent >= 0 AND day_spent >= 0", name="spent"),
)

honeytokens: Final = Table(
    "honeytokens",
    metadata,
    # A keyed hash of a name: of which, only the serving processes can tell.
    Column("mark", LargeBinary, primary_key=True),
    Column("key_version", Integer, nullable=False),
    Column("planted_by", Text, nullable=False),
    _time("planted_at", nullable=False, now=True),
    Column("lifted_by", Text),
    _time("lifted_at"),
    CheckConstraint("octet_length(mark) = 16", name="mark_size"),
    CheckConstraint("(lifted_by IS NULL) = (lifted_at IS NULL)", name="lifted"),
)

usage_keys: Final = Table(
    "usage_keys",
    metadata,
    Column("day", Date, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    CheckConstraint("octet_length(key) = 32", name="key_size"),
    # In no write-ahead log and in no backup, so that a key is gone when its row is.
    prefixes=["UNLOGGED"],
)

usage_counts: Final = Table(
    "usage_counts",
    metadata,
    Column("day", Date, primary_key=True),
    # A name of the settings, or `*` for all; no text of a visitor's.
    Column("page", Text, primary_key=True),
    Column("referrer", Text, primary_key=True),
    Column("views", BigInteger, nullable=False),
    Column("visitors", BigInteger, nullable=False),
    # While the day is open (docs/formats.md).
    Column("sketch", LargeBinary),
    CheckConstraint("views >= 0 AND visitors >= 0", name="counts"),
)
