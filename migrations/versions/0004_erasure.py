"""Create the functions that erase records, for roles that may not touch sealed columns.

They run with the owner's rights, because a role that could set `envelope` could also exchange
it. Their bodies are bound to the tables when they are made, so that no search_path leads them
astray, and nobody may call them but the roles named here. Rows are locked in the order of the
deduplication key, which is the order that writers lock in, so that the two never deadlock.

Revision ID: 0004
Revises: 0003
"""

# ruff: noqa: S608 - the parts that are put together are constants of this file

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"
branch_labels: Final = None
depends_on: Final = None

# An erased record keeps its token, so that it is never given out again, its customer and class,
# which say what was erased, and nothing that came from the value.
ERASE: Final = """
    UPDATE records AS r
    SET envelope = NULL, wrapped_key = NULL, kek = NULL, kek_version = NULL,
        fingerprint = NULL, fingerprint_version = NULL, variant = '', mask = '{}',
        metadata = NULL, reference = NULL, expires_at = NULL, erased_at = pg_catalog.now()
    FROM doomed AS d
    WHERE r.bucket = d.bucket AND r.token = d.token AND r.erased_at IS NULL
    RETURNING r.bucket, r.token, r.customer, r.class
"""
IN_ORDER: Final = "ORDER BY r.bucket, r.customer, r.class, r.fingerprint, r.variant"
MANNER: Final = """
    LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
"""
RETURNS: Final = "RETURNS TABLE (bucket smallint, token text, customer text, class text)"

BY_NAME: Final = f"""
CREATE FUNCTION erase_records(buckets smallint[], tokens text[])
{RETURNS} {MANNER}
BEGIN ATOMIC
    WITH doomed AS MATERIALIZED (
        SELECT r.bucket, r.token
        FROM ROWS FROM (unnest(buckets), unnest(tokens)) AS n (bucket, token)
        JOIN records AS r ON r.bucket = n.bucket AND r.token = n.token
        WHERE r.erased_at IS NULL
        {IN_ORDER}
        FOR UPDATE OF r
    )
    {ERASE};
END
"""
# Expired records that stand where a new one wants to stand.
DUPLICATES: Final = f"""
CREATE FUNCTION erase_expired_duplicates(
    buckets smallint[], customers text[], classes text[], fingerprints bytea[], variants text[]
)
{RETURNS} {MANNER}
BEGIN ATOMIC
    WITH doomed AS MATERIALIZED (
        SELECT r.bucket, r.token
        FROM ROWS FROM (
            unnest(buckets), unnest(customers), unnest(classes), unnest(fingerprints),
            unnest(variants)
        ) AS n (bucket, customer, class, fingerprint, variant)
        JOIN records AS r
            ON r.bucket = n.bucket AND r.customer = n.customer AND r.class = n.class
            AND r.fingerprint = n.fingerprint AND r.variant = n.variant
        WHERE r.erased_at IS NULL AND r.expires_at <= pg_catalog.now()
        {IN_ORDER}
        FOR UPDATE OF r
    )
    {ERASE};
END
"""
# The purge takes the oldest first and leaves what somebody else is working on.
EXPIRED: Final = f"""
CREATE FUNCTION erase_expired_records(at_most integer)
{RETURNS} {MANNER}
BEGIN ATOMIC
    WITH doomed AS MATERIALIZED (
        SELECT r.bucket, r.token
        FROM records AS r
        WHERE r.expires_at <= pg_catalog.now() AND r.erased_at IS NULL
        ORDER BY r.expires_at
        LIMIT at_most
        FOR UPDATE SKIP LOCKED
    )
    {ERASE};
END
"""
SIGNATURES: Final = {
    "erase_records(smallint[], text[])": "vault_ingest, vault_worker",
    "erase_expired_duplicates(smallint[], text[], text[], bytea[], text[])": "vault_ingest",
    "erase_expired_records(integer)": "vault_worker",
}


def upgrade() -> None:
    for body in (BY_NAME, DUPLICATES, EXPIRED):
        op.execute(body)
    for signature, roles in SIGNATURES.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {roles}")


def downgrade() -> None:
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
