"""Create communications: the sealed chunks of records that are too large for a row.

A communication is a record; here are its chunks, and when it was kept. What was not kept is an
upload under way or one that died: it has no record, and so no key. Chunks come and go by functions,
so that no role can add one to a communication that is whole, or take one away.

An erasure destroys the key in its own statement, and makes an upload that died out of the
communication: its chunks are deleted by the purge, a few megabytes at a time, because deleting
gigabytes in the statement that erases would outlast it. A customer's erasure waits for that.

Revision ID: 0027
Revises: 0026
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

import importlib
from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0027"
down_revision: Final = "0026"
branch_labels: Final = None
depends_on: Final = None

_first = importlib.import_module("migrations.versions.0004_erasure")
_holds = importlib.import_module("migrations.versions.0017_holds")
_erasures = importlib.import_module("migrations.versions.0020_erasures")

NOW: Final = sa.text("now()")
TIME: Final = postgresql.TIMESTAMP(timezone=True)
MANNER: Final = _first.MANNER

# What `ERASE` did, and the chunks given over to the purge.
ERASE: Final = f""", gone AS (
    {_first.ERASE}
    ), shredded AS (
        UPDATE communications AS m
        SET kept_at = NULL, size = NULL, started_at = '-infinity'
        FROM gone AS g
        WHERE m.bucket = g.bucket AND m.token = g.token
    )
    SELECT g.bucket, g.token, g.customer, g.class FROM gone AS g
"""

ADD: Final = f"""
CREATE FUNCTION add_communication_chunks(
    of_bucket smallint, of_token text, first smallint, chunks bytea[]
)
RETURNS TABLE (number smallint) {MANNER}
BEGIN ATOMIC
    INSERT INTO communication_chunks (bucket, token, number, sealed)
    SELECT m.bucket, m.token, (first + n.place - 1)::smallint, n.sealed
    FROM communications AS m
    CROSS JOIN unnest(chunks) WITH ORDINALITY AS n (sealed, place)
    WHERE m.bucket = of_bucket AND m.token = of_token AND m.kept_at IS NULL
        AND m.started_at > '-infinity'
    RETURNING number;
END
"""
FINISH: Final = f"""
CREATE FUNCTION keep_communication(of_bucket smallint, of_token text, of_size bigint)
RETURNS TABLE (kept_at timestamptz) {MANNER}
BEGIN ATOMIC
    UPDATE communications AS m SET kept_at = pg_catalog.now(), size = of_size
    WHERE m.bucket = of_bucket AND m.token = of_token AND m.kept_at IS NULL
        AND m.started_at > '-infinity'
    RETURNING m.kept_at;
END
"""
DROP: Final = f"""
CREATE FUNCTION drop_communication(of_bucket smallint, of_token text)
RETURNS TABLE (token text) {MANNER}
BEGIN ATOMIC
    DELETE FROM communications AS m
    WHERE m.bucket = of_bucket AND m.token = of_token AND m.kept_at IS NULL
    RETURNING m.token;
END
"""
# Erased ones first; an upload that is still under way is younger than `older_than`.
PURGE: Final = f"""
CREATE FUNCTION purge_communications(older_than interval, at_most integer)
RETURNS TABLE (token text) {MANNER}
BEGIN ATOMIC
    DELETE FROM communications AS m
    USING (
        SELECT d.bucket, d.token FROM communications AS d
        WHERE d.kept_at IS NULL AND d.started_at < pg_catalog.now() - older_than
        ORDER BY d.started_at LIMIT at_most FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE m.bucket = due.bucket AND m.token = due.token
    RETURNING m.token;
END
"""
SETTLE: Final = f"""
CREATE OR REPLACE FUNCTION settle_erasure(of_bucket smallint, of_customer text)
RETURNS TABLE (remaining bigint) {MANNER}
BEGIN ATOMIC
    SELECT c.id FROM customers AS c WHERE c.bucket = of_bucket AND c.id = of_customer FOR UPDATE;
    SELECT (
        SELECT count(*) FROM records AS r
        WHERE r.bucket = of_bucket AND r.customer = of_customer AND r.erased_at IS NULL
    ) + (
        SELECT count(*) FROM communications AS m
        WHERE m.bucket = of_bucket AND m.customer = of_customer
    );
END
"""
FUNCTIONS: Final = {
    "add_communication_chunks(smallint, text, smallint, bytea[])": "vault_ingest",
    "keep_communication(smallint, text, bigint)": "vault_ingest",
    "drop_communication(smallint, text)": "vault_ingest",
    "purge_communications(interval, integer)": "vault_worker",
}
ERASING: Final = (_holds.BY_NAME, _holds.DUPLICATES, _holds.EXPIRED, _erasures.RECORDS)


def _replaced(body: str) -> str:
    return body.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


def upgrade() -> None:
    _tables()
    for body in ERASING:
        op.execute(_replaced(body.replace(_first.ERASE, ERASE)))
    for body in (ADD, FINISH, DROP, PURGE, SETTLE):
        op.execute(body)
    for signature, role in FUNCTIONS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    op.execute("GRANT SELECT, INSERT (bucket, token, customer) ON communications TO vault_ingest")
    op.execute("GRANT SELECT ON communications, communication_chunks TO vault_reveal")


def downgrade() -> None:
    for body in ERASING:
        op.execute(_replaced(body))
    op.execute(_replaced(_erasures.SETTLE))
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("communication_chunks")
    op.drop_table("communications")


def _tables() -> None:
    op.create_table(
        "communications",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("started_at", TIME, nullable=False, server_default=NOW),
        sa.Column("kept_at", TIME),
        sa.PrimaryKeyConstraint("bucket", "token", name="pk_communications"),
        sa.ForeignKeyConstraint(
            ["bucket", "customer"],
            ["customers.bucket", "customers.id"],
            name="fk_communications_bucket_customer",
        ),
        sa.CheckConstraint("bucket >= 0 AND bucket < 1024", name=op.f("ck_communications_bucket")),
        sa.CheckConstraint(
            "(kept_at IS NULL) = (size IS NULL)", name=op.f("ck_communications_kept")
        ),
    )
    # A customer's communications, newest first; and the foreign key.
    op.create_index(
        "ix_communications_customer", "communications", ["bucket", "customer", "kept_at", "token"]
    )
    # The purge; holds only what was not kept, or was erased.
    op.create_index(
        "ix_communications_waiting",
        "communications",
        ["started_at"],
        postgresql_where=sa.text("kept_at IS NULL"),
    )
    op.create_table(
        "communication_chunks",
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("number", sa.SmallInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("bucket", "token", "number", name="pk_communication_chunks"),
        sa.ForeignKeyConstraint(
            ["bucket", "token"],
            ["communications.bucket", "communications.token"],
            name="fk_communication_chunks_bucket_token",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "bucket >= 0 AND bucket < 1024", name=op.f("ck_communication_chunks_bucket")
        ),
    )
    # What is sealed does not compress, and trying costs time at every upload.
    op.execute("ALTER TABLE communication_chunks ALTER COLUMN sealed SET STORAGE EXTERNAL")
