"""Create customers' changes of their data, older versions of records, and links of customers.

A proposed value is sealed when it is proposed, for the very token and version that it would
become, so that applying it moves an envelope and opens none. The move is a function with the
owner's rights: a role that could write `records.envelope` could also exchange it.

Revision ID: 0025
Revises: 0024
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

import importlib
from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0025"
down_revision: Final = "0024"
branch_labels: Final = None
depends_on: Final = None

_holds = importlib.import_module("migrations.versions.0017_holds")

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)

STATES: Final = (
    "state IN ('open', 'proposed', 'confirmed', 'applied', 'rejected', 'withdrawn', 'expired',"
    " 'superseded')"
)
HOLDS: Final = ("envelope", "wrapped_key", "kek", "kek_version", "fingerprint")
WHOLE: Final = " AND ".join(
    f"(state IN ('proposed', 'confirmed')) = ({column} IS NOT NULL)" for column in HOLDS
)
SEALED: Final = (
    "envelope, wrapped_key, kek, kek_version, fingerprint, fingerprint_version, variant,"
    " bound_by, bound_path"
)
OPENED: Final = (
    f"bucket, id, customer, token, class, record_version, state, source, ticket, opened_by, mask,"
    f" {SEALED}, expires_at"
)
SHOWN: Final = (
    "bucket, id, customer, token, class, record_version, state, source, ticket, opened_by,"
    " proposed_by, confirmed_by, confirmed_how, ended_by, reason, mask, kek, kek_version,"
    " fingerprint, fingerprint_version, variant, created_at, expires_at, ended_at"
)
MANNER: Final = """
    LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
"""
DESTROYED: Final = (
    "envelope = NULL, wrapped_key = NULL, kek = NULL, kek_version = NULL, fingerprint = NULL,"
    " fingerprint_version = NULL, variant = NULL, bound_by = NULL, bound_path = NULL,"
    " ended_at = pg_catalog.now()"
)

# What a legal hold keeps is not written over. Nothing is returned where the change is not
# confirmed, the record is held or not alive, another change came first, or the key version may
# write no more: the caller looks which.
APPLY: Final = f"""
CREATE FUNCTION apply_modification(at_bucket smallint, named text, by_whom text)
RETURNS TABLE (token text, version integer) {MANNER}
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT m.* FROM modifications AS m
        WHERE m.bucket = at_bucket AND m.id = named AND m.state = 'confirmed'
            AND m.expires_at > pg_catalog.now()
        FOR UPDATE
    ), old AS MATERIALIZED (
        SELECT r.bucket, r.token, r.version, r.mask
        FROM records AS r
        JOIN asked AS a ON r.bucket = a.bucket AND r.token = a.token
        JOIN customers AS c ON c.bucket = r.bucket AND c.id = r.customer
        WHERE r.customer = a.customer AND r.class = a.class AND r.version = a.record_version - 1
            AND r.erased_at IS NULL AND (r.expires_at IS NULL OR r.expires_at > pg_catalog.now())
            AND {_holds.FREE}
            AND a.kek_version >= coalesce(
                (SELECT f.min_version FROM key_floors AS f WHERE f.key = a.kek), 0
            )
        {_holds.LOCKED}
    ), kept AS (
        INSERT INTO record_versions (bucket, token, version, mask, modification)
        SELECT o.bucket, o.token, o.version, o.mask, named FROM old AS o
    ), changed AS (
        UPDATE records AS r
        SET version = a.record_version, mask = a.mask, variant = a.variant,
            fingerprint = a.fingerprint, fingerprint_version = a.fingerprint_version,
            envelope = a.envelope, wrapped_key = a.wrapped_key, kek = a.kek,
            kek_version = a.kek_version, bound_by = a.bound_by, bound_path = a.bound_path
        FROM asked AS a, old AS o
        WHERE r.bucket = o.bucket AND r.token = o.token
        RETURNING r.bucket, r.token, r.version
    ), done AS (
        UPDATE modifications AS m
        SET state = CASE WHEN m.id = named THEN 'applied' ELSE 'superseded' END,
            ended_by = by_whom, {DESTROYED}
        FROM changed AS c
        WHERE m.bucket = c.bucket AND m.token = c.token AND m.ended_at IS NULL
    )
    SELECT c.token, c.version FROM changed AS c;
END
"""
# What erased records leave behind: older masks, and values that were proposed for them.
FORGET: Final = f"""
CREATE FUNCTION forget_versions(buckets smallint[], tokens text[])
RETURNS void {MANNER}
BEGIN ATOMIC
    WITH gone AS MATERIALIZED (
        SELECT r.bucket, r.token
        FROM ROWS FROM (unnest(buckets), unnest(tokens)) AS n (bucket, token)
        JOIN records AS r ON r.bucket = n.bucket AND r.token = n.token
        WHERE r.erased_at IS NOT NULL
    ), versions AS (
        DELETE FROM record_versions AS v USING gone AS g
        WHERE v.bucket = g.bucket AND v.token = g.token
    ), proposed AS (
        UPDATE modifications AS m SET state = 'superseded', {DESTROYED}
        FROM gone AS g
        WHERE m.bucket = g.bucket AND m.token = g.token AND m.ended_at IS NULL
    )
    UPDATE modifications AS m SET mask = NULL
    FROM gone AS g
    WHERE m.bucket = g.bucket AND m.token = g.token AND m.ended_at IS NOT NULL;
END
"""
# What an erased customer leaves beside his records: links in both directions, and his changes.
FORGET_ALL: Final = f"""
CREATE FUNCTION forget_changes(of_bucket smallint, of_customer text)
RETURNS void {MANNER}
BEGIN ATOMIC
    WITH gone AS MATERIALIZED (
        SELECT c.bucket, c.id FROM customers AS c
        WHERE c.bucket = of_bucket AND c.id = of_customer AND c.erased_at IS NOT NULL
    ), linked AS (
        DELETE FROM customer_links AS l USING gone AS g
        WHERE l.bucket = g.bucket AND l.customer = g.id
        RETURNING l.other_bucket, l.other
    )
    DELETE FROM customer_links AS l USING linked AS o
    WHERE l.bucket = o.other_bucket AND l.customer = o.other AND l.other = of_customer;
    UPDATE modifications AS m SET state = 'superseded', {DESTROYED}
    FROM customers AS c
    WHERE m.bucket = of_bucket AND m.customer = of_customer AND m.ended_at IS NULL
        AND c.bucket = m.bucket AND c.id = m.customer AND c.erased_at IS NOT NULL;
    UPDATE modifications AS m SET mask = NULL, ticket = ''
    FROM customers AS c
    WHERE m.bucket = of_bucket AND m.customer = of_customer
        AND c.bucket = m.bucket AND c.id = m.customer AND c.erased_at IS NOT NULL;
END
"""
SIGNATURES: Final = {
    "apply_modification(smallint, text, text)": "vault_ingest",
    "forget_versions(smallint[], text[])": "vault_ingest, vault_worker",
    "forget_changes(smallint, text)": "vault_worker",
}


def upgrade() -> None:
    _versions()
    _modifications()
    _links()
    for body in (APPLY, FORGET, FORGET_ALL):
        op.execute(body)
    for signature, roles in SIGNATURES.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {roles}")


def downgrade() -> None:
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
    for table in ("customer_links", "modifications", "record_versions"):
        op.drop_table(table)


def _versions() -> None:
    op.create_table(
        "record_versions",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("mask", postgresql.JSONB, nullable=False),
        sa.Column("modification", sa.Text, nullable=False),
        sa.Column("replaced_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("bucket", "token", "version", name="pk_record_versions"),
        sa.ForeignKeyConstraint(
            ["bucket", "token"],
            ["records.bucket", "records.token"],
            name="fk_record_versions_bucket_token",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_record_versions_bucket")),
    )
    op.execute("GRANT SELECT ON record_versions TO vault_ingest, vault_console")


def _modifications() -> None:
    op.create_table(
        "modifications",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("token", sa.Text),
        sa.Column("class", sa.Text),
        sa.Column("record_version", sa.Integer),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("ticket", sa.Text, nullable=False),
        sa.Column("opened_by", sa.Text, nullable=False),
        sa.Column("proposed_by", sa.Text),
        sa.Column("confirmed_by", sa.Text),
        sa.Column("confirmed_how", sa.Text),
        sa.Column("ended_by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("mask", postgresql.JSONB),
        sa.Column("envelope", sa.LargeBinary),
        sa.Column("wrapped_key", sa.Text),
        sa.Column("kek", sa.Text),
        sa.Column("kek_version", sa.Integer),
        sa.Column("fingerprint", sa.LargeBinary),
        sa.Column("fingerprint_version", sa.Integer),
        sa.Column("variant", sa.Text),
        sa.Column("envelope_hash", sa.LargeBinary, sa.Computed("sha256(envelope)", persisted=True)),
        sa.Column("bound_by", postgresql.UUID(as_uuid=True)),
        sa.Column("bound_path", sa.LargeBinary),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("bucket", "id", name="pk_modifications"),
        sa.ForeignKeyConstraint(
            ["bucket", "customer"],
            ["customers.bucket", "customers.id"],
            name="fk_modifications_bucket_customer",
        ),
        sa.ForeignKeyConstraint(
            ["bucket", "token"],
            ["records.bucket", "records.token"],
            name="fk_modifications_bucket_token",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_modifications_bucket")),
        sa.CheckConstraint(
            "(bound_by IS NULL) = (bound_path IS NULL)", name=op.f("ck_modifications_bound")
        ),
        sa.CheckConstraint(STATES, name=op.f("ck_modifications_state")),
        # A value that was proposed lies here, sealed, as long as it may still be applied.
        sa.CheckConstraint(WHOLE, name=op.f("ck_modifications_sealed_while_pending")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (state IN ('open', 'proposed', 'confirmed'))",
            name=op.f("ck_modifications_ended"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('confirmed', 'applied') OR confirmed_by IS NOT NULL",
            name=op.f("ck_modifications_confirmed"),
        ),
        sa.CheckConstraint(
            "state <> 'applied' OR class NOT IN ('payment_card', 'telephone')"
            " OR ended_by <> confirmed_by",
            name=op.f("ck_modifications_second_person"),
        ),
    )
    # The same change asked for twice, from one ticket, is one.
    op.execute(
        "CREATE UNIQUE INDEX uq_modifications_pending ON modifications"
        " (bucket, customer, ticket, token, fingerprint) NULLS NOT DISTINCT"
        " WHERE ended_at IS NULL"
    )
    # What applying one change supersedes, what an erasure takes along, and the foreign key.
    op.create_index("ix_modifications_token", "modifications", ["bucket", "token"])
    # What waits, over all customers, and what the worker ends.
    op.create_index(
        "ix_modifications_pending",
        "modifications",
        ["expires_at"],
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.execute(
        f"GRANT SELECT ({SHOWN}), INSERT ({OPENED}), UPDATE (token, class, record_version, state,"
        f" proposed_by, confirmed_by, confirmed_how, ended_by, ended_at, reason, mask, {SEALED})"
        " ON modifications TO vault_ingest"
    )
    # Rewrapping, and the end of what nobody came back to.
    op.execute(
        f"GRANT SELECT ({SHOWN}, wrapped_key, envelope_hash, bound_by, bound_path),"
        f" UPDATE (state, ended_by, ended_at, {SEALED})"
        " ON modifications TO vault_worker"
    )


def _links() -> None:
    op.create_table(
        "customer_links",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("other_bucket", sa.SmallInteger, nullable=False),
        sa.Column("other", sa.Text, nullable=False),
        sa.Column("linked_by", sa.Text, nullable=False),
        sa.Column("linked_at", TIME, nullable=False, server_default=NOW),
        # Both directions stand, so that each customer's page asks its own shard alone.
        sa.PrimaryKeyConstraint("bucket", "customer", "other", name="pk_customer_links"),
        sa.ForeignKeyConstraint(
            ["bucket", "customer"],
            ["customers.bucket", "customers.id"],
            name="fk_customer_links_bucket_customer",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_customer_links_bucket")),
        sa.CheckConstraint("customer <> other", name=op.f("ck_customer_links_two")),
    )
    op.execute(
        "GRANT SELECT, INSERT (bucket, customer, other_bucket, other, linked_by), DELETE"
        " ON customer_links TO vault_ingest"
    )
