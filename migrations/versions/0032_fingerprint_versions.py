"""Create the version of each class's fingerprint key that records are written under.

While a class is re-indexed, Vault computes its fingerprints under two versions. The table says
which one a write must carry, and no statement writes another; whoever changes it waits for all who
are writing and keeps the others out meanwhile, by a lock of the table `records`. So nobody who
writes under the old version is left when the first writes under the new one. Without a row any
version may be written: the key was never rotated.

Revision ID: 0032
Revises: 0031
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

import importlib
from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0032"
down_revision: Final = "0031"
branch_labels: Final = None
depends_on: Final = None

_first = importlib.import_module("migrations.versions.0004_erasure")
_changes = importlib.import_module("migrations.versions.0025_modifications")

MANNER: Final = _first.MANNER
# Whoever is about to write a value under the new version brings the record that holds it under an
# older one along, so that the unique index sees that they are one. A role that could set
# `fingerprint` could do so at any time; this does it to the version in force, from an older one.
RENEW: Final = f"""
CREATE FUNCTION renew_fingerprints(
    buckets smallint[], customers text[], classes text[], variants text[], old bytea[],
    new bytea[], versions integer[]
)
RETURNS TABLE (token text) {MANNER}
BEGIN ATOMIC
    WITH found AS MATERIALIZED (
        SELECT r.bucket, r.token, n.new, n.version
        FROM ROWS FROM (
            unnest(buckets), unnest(customers), unnest(classes), unnest(variants), unnest(old),
            unnest(new), unnest(versions)
        ) AS n (bucket, customer, class, variant, old, new, version)
        JOIN fingerprint_versions AS v ON v.class = n.class AND v.version = n.version
        JOIN records AS r
            ON r.bucket = n.bucket AND r.customer = n.customer AND r.class = n.class
            AND r.fingerprint = n.old AND r.variant = n.variant
        WHERE r.erased_at IS NULL AND r.fingerprint_version < n.version
            AND NOT EXISTS (
                SELECT FROM records AS o
                WHERE o.bucket = r.bucket AND o.customer = r.customer AND o.class = r.class
                    AND o.fingerprint = n.new AND o.variant = r.variant
            )
        {_first.IN_ORDER}
        FOR UPDATE OF r
    )
    UPDATE records AS r SET fingerprint = f.new, fingerprint_version = f.version
    FROM found AS f
    WHERE r.bucket = f.bucket AND r.token = f.token
    RETURNING r.token;
END
"""
SIGNATURE: Final = (
    "renew_fingerprints(smallint[], text[], text[], text[], bytea[], bytea[], integer[])"
)
# What was proposed under another version than that in force would not be found, nor be known for
# the same as another record's value.
_FLOOR: Final = "            AND a.kek_version >= coalesce("
APPLY: Final = _changes.APPLY.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(
    _FLOOR,
    "            AND a.fingerprint_version = coalesce(\n"
    "                (SELECT v.version FROM fingerprint_versions AS v WHERE v.class = a.class),\n"
    "                a.fingerprint_version\n"
    "            )\n" + _FLOOR,
)


def upgrade() -> None:
    op.create_table(
        "fingerprint_versions",
        sa.Column("class", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column(
            "since",
            postgresql.TIMESTAMP(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.PrimaryKeyConstraint("class", name="pk_fingerprint_versions"),
    )
    op.execute(RENEW)
    op.execute(APPLY)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO vault_ingest")
    op.execute("GRANT SELECT ON fingerprint_versions TO vault_ingest, vault_console")


def downgrade() -> None:
    op.execute(_changes.APPLY.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute(f"DROP FUNCTION {SIGNATURE}")
    op.drop_table("fingerprint_versions")
