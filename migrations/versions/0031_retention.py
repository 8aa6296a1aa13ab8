"""Let the worker end what has been kept for its time, and nothing that a legal hold keeps.

A month of activity goes by its partition. Where somebody is held, the rows of whoever is held move
into a fresh table that takes the partition's place. Holds cannot be placed or changed meanwhile,
so that one that is committed before the month is gone has been seen.

Revision ID: 0031
Revises: 0030
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0031"
down_revision: Final = "0030"
branch_labels: Final = None
depends_on: Final = None

COLUMNS: Final = (
    "bucket, month, id, customer, first_at, last_at, marks, envelope, wrapped_key, kek,"
    " kek_version, bound_by, bound_path, recorded_at"
)
# Writers of the month wait from the first lock on, readers of any month for the exchange alone.
# What cannot have its lock soon gives up, and comes again: nobody queues behind it for long.
DROP: Final = """
CREATE FUNCTION drop_activity_month(of_month date, keep interval)
RETURNS TABLE (gone bigint, kept bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $body$
DECLARE
    home CONSTANT text := {schema};
    name CONSTANT text := 'activity_segments_' || to_char(of_month, 'YYYYMM');
    fresh CONSTANT text := name || '_kept';
    following CONSTANT date := (of_month + interval '1 month')::date;
    held CONSTANT text := '
        FROM (SELECT DISTINCT h.bucket, h.customer FROM %1$I.holds AS h
            WHERE h.released_at IS NULL AND h.tokens IS NULL) AS h
        JOIN %1$I.customers AS c ON c.bucket = h.bucket AND c.id = h.customer
            AND c.held_until > now()
        JOIN %1$I.%2$I AS s ON s.bucket = c.bucket AND s.customer = c.id';
    total bigint;
BEGIN
    IF of_month <> date_trunc('month', of_month)::date OR keep < interval '1 day'
        OR following + keep > now() AT TIME ZONE 'UTC'
    THEN
        RAISE check_violation USING MESSAGE = 'this month is not over for so long';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('activity_months'));
    IF to_regclass(format('%I.%I', home, name)) IS NULL THEN
        RETURN QUERY SELECT 0::bigint, 0::bigint;
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE %I.holds IN SHARE MODE', home);
    EXECUTE format('LOCK TABLE %I.%I IN SHARE MODE', home, name);
    EXECUTE format('SELECT count(*) FROM %I.%I', home, name) INTO total;
    EXECUTE 'SELECT count(*)' || format(held, home, name) INTO kept;
    gone := total - kept;
    IF kept > 0 AND gone = 0 THEN
        RETURN NEXT;
        RETURN;
    END IF;
    IF kept > 0 THEN
        EXECUTE format(
            'CREATE TABLE %I.%I (LIKE %I.activity_segments INCLUDING ALL)', home, fresh, home
        );
        EXECUTE format('INSERT INTO %I.%I ({columns}) SELECT {of_s}', home, fresh)
            || format(held, home, name);
    END IF;
    EXECUTE format('DROP TABLE %I.%I', home, name);
    IF kept > 0 THEN
        EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', home, fresh, name);
        EXECUTE format(
            'ALTER TABLE %I.activity_segments ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
            home, home, name, of_month, following
        );
    END IF;
    RETURN NEXT;
END
$body$
"""
SIGNATURE: Final = "drop_activity_month(date, interval)"


def upgrade() -> None:
    schema = op.get_bind().scalar(sa.text("SELECT quote_literal(current_schema())"))
    of_s = ", ".join(f"s.{column}" for column in COLUMNS.split(", "))
    body = (
        DROP.replace("{schema}", str(schema)).replace("{columns}", COLUMNS).replace("{of_s}", of_s)
    )
    op.execute(sa.text(body.replace(":=", r"\:=").replace("::", r"\:\:")))
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO vault_worker")
    # When a record was last changed, and who is held: for what is due, and for the plan.
    op.execute(
        "GRANT SELECT (bucket, token, version, replaced_at) ON record_versions TO vault_worker"
    )
    op.execute("GRANT SELECT (bucket, id, held_until) ON customers TO vault_worker")


def downgrade() -> None:
    op.execute("REVOKE SELECT (bucket, id, held_until) ON customers FROM vault_worker")
    op.execute(
        "REVOKE SELECT (bucket, token, version, replaced_at) ON record_versions FROM vault_worker"
    )
    op.execute(f"DROP FUNCTION {SIGNATURE}")
