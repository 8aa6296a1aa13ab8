"""Create legal holds, and make everything that erases heed them.

Until when something is held stands in the row that an erasure locks: in the customer for a hold on
all of him (`held_until`) or on some of his tokens (`part_held_until`), in the record for a hold on
it. Erasing statements lock these rows and test them after the wait, so that a hold committed before
an erasure's commit wins, however the two were interleaved. `settle_holds` is the one writer of
these columns, and it takes what it writes from the holds.

An expired record that is held, and stands where a new one wants to stand, steps aside: its variant
takes its token in, so that the deduplication key is free and nothing is destroyed.

Revision ID: 0017
Revises: 0016
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

import importlib
from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0017"
down_revision: Final = "0016"
branch_labels: Final = None
depends_on: Final = None

_before = importlib.import_module("migrations.versions.0004_erasure")

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)

PLACED: Final = (
    "bucket, id, customer, tokens, placed_by, until, details_envelope, details_wrapped_key,"
    " details_kek, details_kek_version, details_salt"
)
RELEASED: Final = (
    "released_by, released_at, release_envelope, release_wrapped_key, release_kek,"
    " release_kek_version"
)
WRAPPED: Final = ("details_wrapped_key", "details_kek_version")
REWRAPPED: Final = ("release_wrapped_key", "release_kek_version")

FREE: Final = """
    (c.held_until IS NULL OR c.held_until <= pg_catalog.now())
    AND (r.held_until IS NULL OR r.held_until <= pg_catalog.now())
"""
# The customer first: whoever places a hold locks him before any record.
LOCKED: Final = "FOR SHARE OF c FOR UPDATE OF r"
CUSTOMER: Final = "JOIN customers AS c ON c.bucket = r.bucket AND c.id = r.customer"
IN_ORDER: Final = _before.IN_ORDER
MANNER: Final = _before.MANNER
RETURNS: Final = _before.RETURNS
ERASE: Final = _before.ERASE

BY_NAME: Final = f"""
CREATE OR REPLACE FUNCTION erase_records(buckets smallint[], tokens text[])
{RETURNS} {MANNER}
BEGIN ATOMIC
    WITH doomed AS MATERIALIZED (
        SELECT r.bucket, r.token
        FROM ROWS FROM (unnest(buckets), unnest(tokens)) AS n (bucket, token)
        JOIN records AS r ON r.bucket = n.bucket AND r.token = n.token
        {CUSTOMER}
        WHERE r.erased_at IS NULL AND {FREE}
        {IN_ORDER}
        {LOCKED}
    )
    {ERASE};
END
"""
DUPLICATES: Final = f"""
CREATE OR REPLACE FUNCTION erase_expired_duplicates(
    buckets smallint[], customers text[], classes text[], fingerprints bytea[], variants text[]
)
{RETURNS} {MANNER}
BEGIN ATOMIC
    WITH found AS MATERIALIZED (
        SELECT r.bucket, r.token, ({FREE}) AS free
        FROM ROWS FROM (
            unnest(buckets), unnest(customers), unnest(classes), unnest(fingerprints),
            unnest(variants)
        ) AS n (bucket, customer, class, fingerprint, variant)
        JOIN records AS r
            ON r.bucket = n.bucket AND r.customer = n.customer AND r.class = n.class
            AND r.fingerprint = n.fingerprint AND r.variant = n.variant
        {CUSTOMER}
        WHERE r.erased_at IS NULL AND r.expires_at <= pg_catalog.now()
        {IN_ORDER}
        {LOCKED}
    ), aside AS (
        UPDATE records AS r SET variant = r.variant || ' held ' || r.token
        FROM found AS f
        WHERE r.bucket = f.bucket AND r.token = f.token AND NOT f.free
    ), doomed AS (
        SELECT f.bucket, f.token FROM found AS f WHERE f.free
    )
    {ERASE};
END
"""
EXPIRED: Final = f"""
CREATE OR REPLACE FUNCTION erase_expired_records(at_most integer)
{RETURNS} {MANNER}
BEGIN ATOMIC
    WITH doomed AS MATERIALIZED (
        SELECT r.bucket, r.token
        FROM records AS r
        {CUSTOMER}
        WHERE r.expires_at <= pg_catalog.now() AND r.erased_at IS NULL AND {FREE}
        ORDER BY r.expires_at
        LIMIT at_most
        FOR SHARE OF c SKIP LOCKED FOR UPDATE OF r SKIP LOCKED
    )
    {ERASE};
END
"""
# The lock comes in a statement of its own, so that the next ones see every hold that was committed
# by whoever had it before.
SETTLE: Final = f"""
CREATE FUNCTION settle_holds(of_bucket smallint, of_customer text)
RETURNS TABLE (live boolean) {MANNER}
BEGIN ATOMIC
    SELECT c.id FROM customers AS c WHERE c.bucket = of_bucket AND c.id = of_customer
    FOR NO KEY UPDATE;
    WITH named AS (
        SELECT t.token, max(coalesce(h.until, 'infinity')) FILTER (WHERE h.released_at IS NULL)
            AS until
        FROM holds AS h CROSS JOIN LATERAL unnest(h.tokens) AS t (token)
        WHERE h.bucket = of_bucket AND h.customer = of_customer
        GROUP BY t.token
    )
    UPDATE records AS r SET held_until = n.until
    FROM named AS n
    WHERE r.bucket = of_bucket AND r.token = n.token AND r.customer = of_customer
        AND r.held_until IS DISTINCT FROM n.until;
    UPDATE customers AS c SET held_until = h.whole, part_held_until = h.part
    FROM (
        SELECT
            max(coalesce(h.until, 'infinity')) FILTER (WHERE h.tokens IS NULL) AS whole,
            max(coalesce(h.until, 'infinity')) FILTER (WHERE h.tokens IS NOT NULL) AS part
        FROM holds AS h
        WHERE h.bucket = of_bucket AND h.customer = of_customer AND h.released_at IS NULL
    ) AS h
    WHERE c.bucket = of_bucket AND c.id = of_customer
    RETURNING c.erased_at IS NULL;
END
"""
SIGNATURE: Final = "settle_holds(smallint, text)"


def upgrade() -> None:
    _table()
    for column in ("held_until", "part_held_until"):
        op.add_column("customers", sa.Column(column, TIME))
    op.add_column("records", sa.Column("held_until", TIME))
    for body in (BY_NAME, DUPLICATES, EXPIRED, SETTLE):
        op.execute(body)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO vault_console")
    # With the other columns of a record that are no secret.
    op.execute("GRANT SELECT (held_until) ON records TO vault_ingest, vault_console, vault_worker")
    op.execute(f"GRANT SELECT, INSERT ({PLACED}), UPDATE ({RELEASED}) ON holds TO vault_console")
    op.execute(
        "GRANT SELECT (bucket, id, customer, details_kek, release_kek,"
        f" {', '.join(WRAPPED + REWRAPPED)}),"
        f" UPDATE ({', '.join(WRAPPED + REWRAPPED)}) ON holds TO vault_worker"
    )


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {SIGNATURE}")
    for body in (_before.BY_NAME, _before.DUPLICATES, _before.EXPIRED):
        op.execute(body.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.drop_column("records", "held_until")
    for column in ("part_held_until", "held_until"):
        op.drop_column("customers", column)
    op.drop_table("holds")


def _table() -> None:
    op.create_table(
        "holds",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("tokens", postgresql.ARRAY(sa.Text)),
        sa.Column("placed_by", sa.Text, nullable=False),
        sa.Column("placed_at", TIME, nullable=False, server_default=NOW),
        sa.Column("until", TIME),
        sa.Column("details_envelope", sa.LargeBinary, nullable=False),
        sa.Column("details_wrapped_key", sa.Text, nullable=False),
        sa.Column("details_kek", sa.Text, nullable=False),
        sa.Column("details_kek_version", sa.Integer, nullable=False),
        sa.Column("details_salt", sa.LargeBinary),
        sa.Column("released_by", sa.Text),
        sa.Column("released_at", TIME),
        sa.Column("release_envelope", sa.LargeBinary),
        sa.Column("release_wrapped_key", sa.Text),
        sa.Column("release_kek", sa.Text),
        sa.Column("release_kek_version", sa.Integer),
        sa.PrimaryKeyConstraint("bucket", "id", name="pk_holds"),
        sa.ForeignKeyConstraint(
            ["bucket", "customer"],
            ["customers.bucket", "customers.id"],
            name="fk_holds_bucket_customer",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_holds_bucket")),
        sa.CheckConstraint("until > placed_at", name=op.f("ck_holds_ends_later")),
        sa.CheckConstraint("cardinality(tokens) > 0", name=op.f("ck_holds_names_some")),
        sa.CheckConstraint(
            "(released_by IS NULL) = (released_at IS NULL)"
            " AND (released_by IS NULL) = (release_envelope IS NULL)"
            " AND (released_by IS NULL) = (release_wrapped_key IS NULL)"
            " AND (released_by IS NULL) = (release_kek IS NULL)"
            " AND (released_by IS NULL) = (release_kek_version IS NULL)",
            name=op.f("ck_holds_released_whole"),
        ),
        # Whoever has a hold placed and lifted again is two people.
        sa.CheckConstraint("released_by <> placed_by", name=op.f("ck_holds_released_by_another")),
    )
    # The holds of one customer: for their listing, for settling, and for the foreign key.
    op.create_index("ix_holds_customer", "holds", ["bucket", "customer"])
