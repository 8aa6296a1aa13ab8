"""Create the activity log: sealed segments of entries, one partition for each month.

Nobody may write it but through functions with the owner's rights, so it is only ever added to. No
foreign key leads to the customer, because dropping a month would then lock all customers;
`record_activity` locks him as a foreign key would, so that the last look of an erasure waits for
whoever still writes.

Revision ID: 0030
Revises: 0029
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0030"
down_revision: Final = "0029"
branch_labels: Final = None
depends_on: Final = None

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)

SHOWN: Final = (
    "bucket, month, id, customer, first_at, last_at, marks, kek, kek_version, recorded_at"
)
BOUND: Final = "envelope_hash, bound_by, bound_path"
MANNER: Final = """
    LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
"""

# Missing from the answer is a segment whose customer is unknown or erased, or whose key version may
# write no more.
RECORD: Final = f"""
CREATE FUNCTION record_activity(
    buckets smallint[], months date[], ids text[], customers text[], firsts timestamptz[],
    lasts timestamptz[], marks bytea[], envelopes bytea[], wrapped_keys text[], keks text[],
    kek_versions integer[], bound_bys uuid[], bound_paths bytea[]
)
RETURNS TABLE (id text) {MANNER}
BEGIN ATOMIC
    WITH there AS MATERIALIZED (
        SELECT c.bucket, c.id FROM customers AS c
        WHERE c.erased_at IS NULL AND (c.bucket, c.id) IN (
            SELECT n.bucket, n.customer
            FROM ROWS FROM (unnest(buckets), unnest(customers)) AS n (bucket, customer)
        )
        ORDER BY c.bucket, c.id
        FOR KEY SHARE OF c
    )
    INSERT INTO activity_segments AS s (
        bucket, month, id, customer, first_at, last_at, marks, envelope, wrapped_key, kek,
        kek_version, bound_by, bound_path
    )
    SELECT n.bucket, n.month, n.id, n.customer, n.first_at, n.last_at, n.marks, n.envelope,
        n.wrapped_key, n.kek, n.kek_version, n.bound_by, n.bound_path
    FROM ROWS FROM (
        unnest(buckets), unnest(months), unnest(ids), unnest(customers), unnest(firsts),
        unnest(lasts), unnest(marks), unnest(envelopes), unnest(wrapped_keys), unnest(keks),
        unnest(kek_versions), unnest(bound_bys), unnest(bound_paths)
    ) AS n (
        bucket, month, id, customer, first_at, last_at, marks, envelope, wrapped_key, kek,
        kek_version, bound_by, bound_path
    )
    JOIN there AS t ON t.bucket = n.bucket AND t.id = n.customer
    LEFT JOIN key_floors AS f ON f.key = n.kek
    WHERE n.kek_version >= coalesce(f.min_version, 0)
    RETURNING s.id;
END
"""
ERASE: Final = f"""
CREATE FUNCTION erase_activity_of(of_bucket smallint, of_customer text, at_most integer)
RETURNS TABLE (id text) {MANNER}
BEGIN ATOMIC
    WITH doomed AS MATERIALIZED (
        SELECT s.bucket, s.month, s.id
        FROM customers AS c
        JOIN activity_segments AS s ON s.bucket = c.bucket AND s.customer = c.id
        WHERE c.bucket = of_bucket AND c.id = of_customer AND c.erased_at IS NOT NULL
        LIMIT at_most
    )
    DELETE FROM activity_segments AS s USING doomed AS d
    WHERE s.bucket = d.bucket AND s.month = d.month AND s.id = d.id
    RETURNING s.id;
END
"""
# A table of its own that is attached, because making it as a partition at once would lock out
# everybody who reads.
OPEN: Final = """
CREATE FUNCTION open_activity_month(of_month date) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    home CONSTANT text := {schema};
    name CONSTANT text := 'activity_segments_' || to_char(of_month, 'YYYYMM');
    following CONSTANT date := (of_month + interval '1 month')::date;
BEGIN
    IF of_month <> date_trunc('month', of_month)::date OR of_month < date '2000-01-01'
        OR of_month > (now() AT TIME ZONE 'UTC' + interval '2 days')::date
    THEN
        RAISE check_violation USING MESSAGE = 'not a month of an activity log';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('activity_months'));
    IF to_regclass(format('%I.%I', home, name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I.%I (LIKE %I.activity_segments INCLUDING ALL)', home, name, home
    );
    EXECUTE format(
        'ALTER TABLE %I.activity_segments ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
        home, home, name, of_month, following
    );
END
$body$
"""
SIGNATURES: Final = {
    "record_activity(smallint[], date[], text[], text[], timestamptz[], timestamptz[], bytea[],"
    " bytea[], text[], text[], integer[], uuid[], bytea[])": "vault_ingest",
    "open_activity_month(date)": "vault_ingest",
    "erase_activity_of(smallint, text, integer)": "vault_worker",
}


def upgrade() -> None:
    _table()
    schema = op.get_bind().scalar(sa.text("SELECT quote_literal(current_schema())"))
    for body in (RECORD, ERASE, OPEN.replace("{schema}", str(schema))):
        op.execute(sa.text(body.replace(":=", r"\:=").replace("::", r"\:\:")))
    for signature, role in SIGNATURES.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    op.execute(f"GRANT SELECT ({SHOWN}) ON activity_segments TO vault_ingest, vault_console")
    op.execute("GRANT SELECT ON activity_segments TO vault_reveal")
    # Rewrapping: the wrapped key changes and the envelope stays unseen.
    op.execute(
        f"GRANT SELECT ({SHOWN}, wrapped_key, {BOUND}),"
        " UPDATE (wrapped_key, kek_version, bound_by, bound_path)"
        " ON activity_segments TO vault_worker"
    )


def downgrade() -> None:
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("activity_segments")


def _table() -> None:
    op.create_table(
        "activity_segments",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("month", sa.Date, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        # Time and kind of each entry: domain.activity.
        sa.Column("marks", sa.LargeBinary, nullable=False),
        sa.Column("envelope", sa.LargeBinary, nullable=False),
        sa.Column("wrapped_key", sa.Text, nullable=False),
        sa.Column("kek", sa.Text, nullable=False),
        sa.Column("kek_version", sa.Integer, nullable=False),
        sa.Column("envelope_hash", sa.LargeBinary, sa.Computed("sha256(envelope)", persisted=True)),
        sa.Column("bound_by", postgresql.UUID(as_uuid=True)),
        sa.Column("bound_path", sa.LargeBinary),
        sa.Column("recorded_at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("bucket", "month", "id", name="pk_activity_segments"),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_activity_segments_bucket")
        ),
        sa.CheckConstraint(
            "octet_length(marks) > 0 AND mod(octet_length(marks), 10) = 0",
            name=op.f("ck_activity_segments_marks"),
        ),
        sa.CheckConstraint("first_at <= last_at", name=op.f("ck_activity_segments_ordered")),
        sa.CheckConstraint(
            "(bound_by IS NULL) = (bound_path IS NULL)", name=op.f("ck_activity_segments_bound")
        ),
        postgresql_partition_by="RANGE (month)",
    )
    # What is sealed does not compress, and a listing reads the rows without it.
    op.execute("ALTER TABLE activity_segments ALTER COLUMN envelope SET STORAGE EXTERNAL")
    # A customer's entries in the order of their times, within each month.
    op.create_index(
        "ix_activity_segments_customer",
        "activity_segments",
        ["bucket", "customer", "first_at", "last_at"],
    )
