"""Create erasures of customers: asked for, confirmed by another officer, done by the worker.

`begin_erasure` is the moment that decides: in one statement the customer is no longer known and no
hold stands, and a hold that comes later finds nobody. The records follow in batches. A record that
was being written at that moment is found by the last look, which locks the customer's row and so
waits for whoever is still writing one.

Revision ID: 0020
Revises: 0019
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

import importlib
from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0020"
down_revision: Final = "0019"
branch_labels: Final = None
depends_on: Final = None

_first = importlib.import_module("migrations.versions.0004_erasure")

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)
MANNER: Final = _first.MANNER
ASKED: Final = "bucket, customer, requested_by"
CONFIRMED: Final = "state, confirmed_by, started_at"
WORKED: Final = "state, records, clear_at, finished_at, backup_horizon_days, entry"

BEGIN: Final = f"""
CREATE FUNCTION begin_erasure(of_bucket smallint, of_customer text)
RETURNS TABLE (customer text) {MANNER}
BEGIN ATOMIC
    UPDATE customers AS c SET erased_at = pg_catalog.now(), has_reference = 0
    WHERE c.bucket = of_bucket AND c.id = of_customer AND c.erased_at IS NULL
        AND (c.held_until IS NULL OR c.held_until <= pg_catalog.now())
        AND (c.part_held_until IS NULL OR c.part_held_until <= pg_catalog.now())
        AND EXISTS (
            SELECT FROM erasures AS e
            WHERE e.bucket = c.bucket AND e.customer = c.id AND e.state = 'running'
        )
    RETURNING c.id;
END
"""
# By class, so that the index of the deduplication key leads to the records that are left.
RECORDS: Final = f"""
CREATE FUNCTION erase_records_of(
    of_bucket smallint, of_customer text, of_class text, at_most integer
)
{_first.RETURNS} {MANNER}
BEGIN ATOMIC
    WITH doomed AS MATERIALIZED (
        SELECT r.bucket, r.token
        FROM customers AS c
        JOIN records AS r ON r.bucket = c.bucket AND r.customer = c.id
        WHERE c.bucket = of_bucket AND c.id = of_customer AND c.erased_at IS NOT NULL
            AND r.class = of_class AND r.fingerprint IS NOT NULL AND r.erased_at IS NULL
        {_first.IN_ORDER}
        LIMIT at_most
        FOR UPDATE OF r
    )
    {_first.ERASE};
END
"""
SETTLE: Final = f"""
CREATE FUNCTION settle_erasure(of_bucket smallint, of_customer text)
RETURNS TABLE (remaining bigint) {MANNER}
BEGIN ATOMIC
    SELECT c.id FROM customers AS c WHERE c.bucket = of_bucket AND c.id = of_customer FOR UPDATE;
    SELECT count(*) FROM records AS r
    WHERE r.bucket = of_bucket AND r.customer = of_customer AND r.erased_at IS NULL;
END
"""
ABOUT: Final = """(
    d.customer = of_customer
    OR EXISTS (
        SELECT FROM unnest(d.tokens) AS t (token)
        JOIN records AS r ON r.bucket = of_bucket AND r.token = t.token
        WHERE r.customer = of_customer
    )
)"""
# Without its salt a commitment in the ledger says nothing to whoever guesses a text.
SALTS: Final = f"""
CREATE FUNCTION forget_salts(of_bucket smallint, of_customer text)
RETURNS TABLE (disclosure text) {MANNER}
BEGIN ATOMIC
    UPDATE holds AS h SET details_salt = NULL
    WHERE h.bucket = of_bucket AND h.customer = of_customer AND h.details_salt IS NOT NULL;
    UPDATE evidence_documents AS e SET salt = NULL
    FROM disclosures AS d
    JOIN disclosure_documents AS n ON n.bucket = d.bucket AND n.disclosure = d.id
    WHERE e.bucket = n.document_bucket AND e.id = n.document AND e.salt IS NOT NULL AND {ABOUT};
    UPDATE disclosures AS d SET details_salt = NULL
    WHERE d.details_salt IS NOT NULL AND {ABOUT}
    RETURNING d.id;
END
"""
# Answers that are kept for repetitions hold masks.
ANSWERS: Final = f"""
CREATE FUNCTION forget_answers(from_bucket smallint, end_bucket smallint, of_customer text)
RETURNS TABLE (key text) {MANNER}
BEGIN ATOMIC
    DELETE FROM idempotency AS i
    WHERE i.bucket >= from_bucket AND i.bucket < end_bucket
        AND position(convert_to(of_customer, 'UTF8') IN i.response) > 0
    RETURNING i.key;
END
"""
FUNCTIONS: Final = {
    "begin_erasure(smallint, text)": "vault_console",
    "erase_records_of(smallint, text, text, integer)": "vault_worker",
    "settle_erasure(smallint, text)": "vault_worker",
    "forget_salts(smallint, text)": "vault_worker",
    "forget_answers(smallint, smallint, text)": "vault_worker",
}


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'requested'")),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("requested_at", TIME, nullable=False, server_default=NOW),
        sa.Column("confirmed_by", sa.Text),
        sa.Column("started_at", TIME),
        sa.Column("records", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("clear_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("backup_horizon_days", sa.Integer),
        sa.Column("entry", postgresql.UUID(as_uuid=True)),
        sa.PrimaryKeyConstraint("bucket", "customer", name="pk_erasures"),
        sa.ForeignKeyConstraint(
            ["bucket", "customer"],
            ["customers.bucket", "customers.id"],
            name="fk_erasures_bucket_customer",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_erasures_bucket")),
        sa.CheckConstraint(
            "state IN ('requested', 'running', 'done')", name=op.f("ck_erasures_state")
        ),
        sa.CheckConstraint(
            "(state = 'requested') = (confirmed_by IS NULL)"
            " AND (state = 'requested') = (started_at IS NULL)",
            name=op.f("ck_erasures_begun"),
        ),
        sa.CheckConstraint(
            "(state = 'done') = (finished_at IS NOT NULL)"
            " AND (state = 'done') = (entry IS NOT NULL)",
            name=op.f("ck_erasures_finished"),
        ),
        # What cannot be undone takes two.
        sa.CheckConstraint(
            "confirmed_by <> requested_by", name=op.f("ck_erasures_confirmed_by_another")
        ),
    )
    # What the worker has to do; holds only what is under way.
    op.create_index(
        "ix_erasures_running",
        "erasures",
        ["started_at"],
        postgresql_where=sa.text("state = 'running'"),
    )
    for body in (BEGIN, RECORDS, SETTLE, SALTS, ANSWERS):
        op.execute(body)
    for signature, role in FUNCTIONS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    op.execute("GRANT SELECT ON erasures TO vault_console, vault_worker")
    op.execute(f"GRANT INSERT ({ASKED}), UPDATE ({CONFIRMED}) ON erasures TO vault_console")
    op.execute(f"GRANT UPDATE ({WORKED}) ON erasures TO vault_worker")


def downgrade() -> None:
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("erasures")
