"""What each database role may not do, tried with its own login."""

from __future__ import annotations

from collections import defaultdict

import psycopg
import pytest
from psycopg import sql

from tests.storage import build
from tests.storage.build import Units
from tests.support.servers import SERVICE_ROLES, Database
from vault_service.errors import ServiceError
from vault_service.storage.tables import metadata
from vault_service.storage.tables.records import SEALED_COLUMNS, records

MASKED = ", ".join(f'"{c.name}"' for c in records.c if c.name not in SEALED_COLUMNS)

MAY_NOT = {
    "vault_ingest": [
        "SELECT * FROM evidence_chunks",
        "SELECT * FROM communication_chunks",
        "INSERT INTO communication_chunks VALUES (1, 'a', 1, '')",
        "DELETE FROM communication_chunks",
        "DELETE FROM communications",
        "UPDATE communications SET kept_at = NULL",
        "INSERT INTO communications (bucket, token, customer, kept_at) VALUES (1, 'a', 'b', now())",
        "SELECT * FROM purge_communications('0'::interval, 1)",
        "SELECT envelope FROM records",
        "SELECT wrapped_key FROM records",
        "SELECT * FROM records",
        "SELECT count(*) FROM records WHERE envelope IS NOT NULL",
        "UPDATE records SET expires_at = now() RETURNING wrapped_key",
        "UPDATE records SET envelope = ''",
        "UPDATE records SET wrapped_key = ''",
        "UPDATE records SET customer = 'another'",
        "UPDATE records SET erased_at = now()",
        "UPDATE records SET mask = '{}'",
        "SELECT envelope FROM modifications",
        "SELECT wrapped_key FROM modifications",
        "UPDATE modifications SET customer = 'another'",
        "UPDATE modifications SET expires_at = now()",
        "UPDATE modifications SET unassigned = NULL",
        "DELETE FROM modifications",
        "INSERT INTO record_versions (bucket) VALUES (1)",
        "DELETE FROM record_versions",
        "INSERT INTO records (bucket, token, version) VALUES (1, 'a', 2)",
        "DELETE FROM records",
        "UPDATE customers SET erased_at = now()",
        "DELETE FROM customers",
        "SELECT * FROM disclosures",
        "SELECT * FROM disclosure_tokens",
        "SELECT * FROM disclosure_decisions",
        "SELECT planted_by FROM honeytokens",
        "UPDATE honeytokens SET lifted_at = now()",
        "INSERT INTO key_floors VALUES ('k', 1)",
        "UPDATE key_floors SET min_version = 0",
        "SELECT envelope FROM activity_segments",
        "INSERT INTO activity_segments (bucket) VALUES (1)",
        "UPDATE activity_segments SET customer = 'another'",
        "UPDATE activity_segments SET wrapped_key = ''",
        "DELETE FROM activity_segments",
        "SELECT * FROM erase_activity_of(1::smallint, 'a', 1)",
        "SELECT * FROM drop_activity_month('2001-01-01', '1 day')",
        "UPDATE idempotency SET request_mac = ''",
        "DELETE FROM idempotency",
        "UPDATE api_keys SET state = 'active'",
        "UPDATE principals SET roles = '{officer}'",
        "SELECT * FROM leases",
        "SELECT * FROM reveals",
        "SELECT * FROM erase_expired_records(1)",
        "SELECT * FROM holds",
        "UPDATE customers SET held_until = NULL",
        "UPDATE records SET held_until = NULL",
        "SELECT * FROM settle_holds(1::smallint, 'a')",
        "DELETE FROM usage_counts",
        "DELETE FROM usage_keys",
        "UPDATE usage_keys SET key = ''",
        "TRUNCATE usage_keys",
    ],
    "vault_reveal": [
        "SELECT * FROM usage_counts",
        "SELECT * FROM usage_keys",
        "INSERT INTO disclosure_instruments (bucket) VALUES (1)",
        "SELECT * FROM evidence_documents",
        "SELECT * FROM evidence_chunks",
        "UPDATE communications SET size = 1",
        "UPDATE communication_chunks SET sealed = ''",
        "DELETE FROM communication_chunks",
        "SELECT * FROM drop_communication(1::smallint, 'a')",
        "INSERT INTO records (bucket, token) VALUES (1, 'a')",
        "UPDATE records SET expires_at = now()",
        "UPDATE records SET envelope = ''",
        "DELETE FROM records",
        "SELECT * FROM customers",
        "SELECT * FROM erase_records(ARRAY[1]::smallint[], ARRAY['a'])",
        "INSERT INTO disclosures (bucket, id) VALUES (1, 'a')",
        "UPDATE disclosures SET expires_at = now()",
        "UPDATE disclosures SET uses = 9",
        "UPDATE disclosures SET tokens = '{a}'",
        "DELETE FROM disclosures",
        "UPDATE disclosure_tokens SET expires_at = now()",
        "UPDATE disclosure_tokens SET holder = 'me'",
        "INSERT INTO disclosure_tokens (bucket, jti, used_at) VALUES (1, 'a', now())",
        "DELETE FROM disclosure_tokens",
        # Who spends proofs forgets none.
        "DELETE FROM dpop_proofs",
        "UPDATE dpop_proofs SET until = now()",
        "UPDATE dpop_nonces SET nonce = 'x'",
        "SELECT comment_envelope FROM disclosure_decisions",
        "INSERT INTO disclosure_decisions (bucket) VALUES (1)",
        "SELECT * FROM idempotency",
        "SELECT customer FROM reveals",
        "INSERT INTO reveals (bucket, at) VALUES (1, now())",
        "UPDATE reveals SET customer = 'another'",
        "DELETE FROM reveals",
    ],
    "vault_console": [
        "SELECT sketch FROM usage_counts",
        "UPDATE usage_counts SET views = 0",
        "SELECT * FROM usage_keys",
        "SELECT * FROM communications",
        "SELECT * FROM communication_chunks",
        "UPDATE evidence_documents SET digest = ''",
        "UPDATE evidence_documents SET wrapped_key = ''",
        "UPDATE evidence_chunks SET sealed = ''",
        "UPDATE disclosure_documents SET document = 'another'",
        "DELETE FROM evidence_documents",
        "DELETE FROM evidence_chunks",
        "DELETE FROM disclosure_documents",
        "DELETE FROM evidence_access",
        "UPDATE disclosure_instruments SET ends = NULL",
        "DELETE FROM disclosure_instruments",
        "UPDATE disclosures SET amends = NULL",
        "SELECT envelope FROM records",
        "SELECT wrapped_key FROM records",
        "INSERT INTO records (bucket, token) VALUES (1, 'a')",
        "UPDATE records SET expires_at = now()",
        "DELETE FROM records",
        "SELECT * FROM erase_records(ARRAY[1]::smallint[], ARRAY['a'])",
        "INSERT INTO customers (bucket, id) VALUES (1, 'a')",
        "SELECT * FROM disclosure_tokens",
        "INSERT INTO disclosure_tokens (bucket, jti) VALUES (1, 'a')",
        "UPDATE disclosure_tokens SET used_at = NULL",
        "UPDATE disclosures SET uses_left = 9",
        "UPDATE disclosures SET requester = 'me'",
        "UPDATE disclosures SET tokens = '{a}'",
        "UPDATE disclosures SET approvals_needed = 1",
        "UPDATE disclosures SET details_envelope = ''",
        "DELETE FROM disclosures",
        "UPDATE disclosure_decisions SET principal = 'another'",
        "DELETE FROM disclosure_decisions",
        "INSERT INTO disclosure_decisions (bucket, at) VALUES (1, now())",
        "UPDATE api_keys SET secret_hash = ''",
        "UPDATE api_keys SET principal = 'another'",
        "UPDATE api_keys SET created_by = 'another'",
        "DELETE FROM api_keys",
        "UPDATE principals SET name = 'another'",
        "DELETE FROM principals",
        "UPDATE policies SET body = ''",
        "DELETE FROM policies",
        "UPDATE policy_adoptions SET version = ''",
        "DELETE FROM policy_adoptions",
        "INSERT INTO key_floors VALUES ('k', 1)",
        "UPDATE rotations SET to_version = 9",
        "INSERT INTO rotations (id, state) VALUES ('a', 'done')",
        "DELETE FROM rotations",
        "UPDATE key_census SET overdue_since = NULL",
        "SELECT * FROM idempotency",
        "UPDATE disclosures SET notice_rule = 'at_once'",
        "UPDATE disclosures SET notice_after = NULL",
        "INSERT INTO reveals (bucket) VALUES (1)",
        "UPDATE reveals SET customer = 'another'",
        "DELETE FROM reveals",
        "UPDATE customers SET held_until = NULL",
        "UPDATE records SET held_until = NULL",
        "UPDATE holds SET until = now()",
        "UPDATE holds SET placed_by = 'another'",
        "DELETE FROM holds",
        "UPDATE customers SET erased_at = now()",
        "UPDATE erasures SET requested_by = 'another'",
        "UPDATE erasures SET finished_at = now()",
        "INSERT INTO erasures (bucket, customer, requested_by, state) VALUES (1, 'a', 'b', 'done')",
        "DELETE FROM erasures",
        "UPDATE access_reviews SET due = now()",
        "UPDATE access_review_items SET principal = 'another'",
        "DELETE FROM access_reviews",
        "SELECT * FROM erase_records_of(1::smallint, 'a', 'b', 1)",
    ],
    "vault_worker": [
        "SELECT * FROM communications",
        "SELECT * FROM communication_chunks",
        "DELETE FROM communications",
        "SELECT digest FROM evidence_documents",
        "SELECT sealed FROM evidence_chunks",
        "UPDATE evidence_documents SET referred_at = NULL",
        "SELECT * FROM evidence_access",
        "SELECT envelope FROM records",
        "INSERT INTO records (bucket, token) VALUES (1, 'a')",
        "UPDATE records SET envelope = ''",
        "UPDATE records SET kek = 'another'",
        "DELETE FROM records",
        "SELECT * FROM customers",
        "SELECT details_envelope FROM holds",
        "UPDATE holds SET released_at = now()",
        "UPDATE erasures SET confirmed_by = 'another'",
        "SELECT * FROM begin_erasure(1::smallint, 'a')",
        "UPDATE records SET held_until = NULL",
        "SELECT details_envelope FROM disclosures",
        "SELECT details_salt FROM disclosures",
        "INSERT INTO disclosures (bucket, id) VALUES (1, 'a')",
        "UPDATE disclosures SET uses_left = 9",
        "UPDATE disclosures SET expires_at = now()",
        "SELECT * FROM disclosure_tokens",
        "SELECT comment_envelope FROM disclosure_decisions",
        "UPDATE disclosure_decisions SET comment_kek = 'another'",
        "DELETE FROM rotations",
        "DELETE FROM key_census",
        "SELECT response FROM idempotency",
        "SELECT request_mac FROM idempotency",
        "UPDATE ledger_outbox SET entry = ''",
        "UPDATE api_keys SET state = 'active'",
        "DELETE FROM key_floors",
        "INSERT INTO policies (version) VALUES ('a')",
        "INSERT INTO policy_adoptions (number) VALUES (1)",
        "UPDATE ledger_tree SET first_leaf = 0",
        "DELETE FROM ledger_tree",
    ],
}
NOBODY_MAY = [
    "UPDATE ledger_tiles SET hashes = ''",
    "DELETE FROM ledger_tiles",
    "UPDATE ledger_bundles SET packed = ''",
    "DELETE FROM ledger_bundles",
    "UPDATE ledger_leaves SET leaf = 0",
    "DELETE FROM ledger_leaves",
    "UPDATE ledger_checkpoints SET note = ''",
    "UPDATE ledger_tail SET entry = ''",
    "TRUNCATE ledger_tree",
    "UPDATE ledger_outbox SET entry = ''",
    "TRUNCATE ledger_outbox",
    "DELETE FROM ledger_commitments",
    "UPDATE ledger_commitments SET bucket = 0",
    "INSERT INTO ledger_outbox (bucket, created_at) VALUES (1, now())",
    "TRUNCATE records",
    "ALTER TABLE records DISABLE TRIGGER ALL",
    "CREATE TABLE mine (a int)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "UPDATE alembic_version SET version_num = '0000'",
    "SET ROLE vault_owner",
    "ALTER ROLE vault_ingest SUPERUSER",
    "DELETE FROM alarms",
    "DELETE FROM honeytokens",
    "UPDATE honeytokens SET mark = ''",
    "UPDATE alarms SET name = 'a'",
    "UPDATE webhook_outbox SET body = ''",
    "UPDATE webhook_deliveries SET body = ''",
    "UPDATE webhook_deliveries SET endpoint = 'a'",
]
ONLY_THE_WORKER_MAY = [
    "SELECT entry FROM ledger_outbox",
    "DELETE FROM ledger_outbox",
    "SELECT body FROM webhook_outbox",
    "DELETE FROM webhook_outbox",
    "SELECT body FROM webhook_deliveries",
    "DELETE FROM webhook_deliveries",
]


def _refused(database: Database, role: str, statement: str) -> None:
    with database.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("role", "statement"),
    [(role, statement) for role, statements in MAY_NOT.items() for statement in statements],
)
def test_a_role_may_not_do_what_its_process_does_not_need(
    database: Database, role: str, statement: str
) -> None:
    """PostgreSQL itself refuses, whatever the process was talked into."""
    _refused(database, role, statement)


@pytest.mark.parametrize("role", SERVICE_ROLES)
@pytest.mark.parametrize("statement", NOBODY_MAY)
def test_no_role_may_rewrite_the_ledger_or_the_schema(
    database: Database, role: str, statement: str
) -> None:
    """What was promised to the log stays, and the schema is the owner's."""
    _refused(database, role, statement)


@pytest.mark.parametrize("role", [role for role in SERVICE_ROLES if role != "vault_worker"])
@pytest.mark.parametrize("statement", ONLY_THE_WORKER_MAY)
def test_the_outbox_is_read_and_emptied_by_the_worker_alone(
    database: Database, role: str, statement: str
) -> None:
    """Whoever writes an entry can neither read it back nor take it away."""
    _refused(database, role, statement)


def test_the_worker_reads_and_empties_the_outbox(database: Database, units: Units) -> None:
    """The sequencer's two rights are there."""
    with units.ingest.begin() as tx:
        tx.outbox.append([build.entry(b"{1}")])
    with database.connect("vault_worker") as connection:
        assert connection.execute("SELECT entry FROM ledger_outbox").fetchall() == [(b"{1}",)]
        connection.execute("DELETE FROM ledger_outbox")


def test_every_role_that_reads_records_sees_the_masked_columns(database: Database) -> None:
    """The masked columns are all that ingest, console and worker need for their reads."""
    for role in SERVICE_ROLES:
        with database.connect(role) as connection:
            connection.execute(f"SELECT {MASKED} FROM records".encode())  # noqa: S608 - constant


def test_every_role_may_tell_the_schema_and_the_durability(units: Units) -> None:
    """Readiness asks with the process's own login."""
    for unit in (units.ingest, units.reveal, units.console, units.worker):
        unit.ping()
        assert unit.check_schema() is None
        assert isinstance(unit.check_durability(), list)


def test_public_has_no_right_to_any_table_or_function(database: Database) -> None:
    """A login that nobody granted anything finds nothing."""
    with database.connect() as connection:
        assert not connection.execute(
            "SELECT table_name FROM information_schema.table_privileges"
            " WHERE grantee = 'PUBLIC' AND table_schema = 'public'"
        ).fetchall()
        assert not connection.execute(
            "SELECT routine_name FROM information_schema.routine_privileges"
            " WHERE grantee = 'PUBLIC' AND routine_schema = 'public'"
        ).fetchall()


def test_changing_rights_are_exactly_the_listed_ones(database: Database) -> None:
    """No role has a DELETE or an UPDATE that this page does not name."""
    tables = [table.name for table in metadata.sorted_tables]
    found: dict[str, set[str]] = defaultdict(set)
    with database.connect() as connection:
        for role in SERVICE_ROLES:
            for table in tables:
                for right in ("DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"):
                    if connection.execute(
                        "SELECT has_table_privilege(%s, %s, %s)", (role, table, right)
                    ).fetchone() == (True,):
                        found[role].add(f"{right} {table}")
                for column in metadata.tables[table].c:
                    if connection.execute(
                        "SELECT has_column_privilege(%s, %s, %s, 'UPDATE')",
                        (role, table, column.name),
                    ).fetchone() == (True,):
                        found[role].add(f"{table}.{column.name}")
    everybody = {"api_keys.last_used_at"} | {
        f"alarms.{name}" for name in ("raised_at", "quiet_until", "times")
    }
    assert found == {
        "vault_ingest": everybody
        | {"records.expires_at", "idempotency.response", "DELETE customer_links"}
        | {f"usage_counts.{name}" for name in ("views", "visitors", "sketch")}
        | {
            f"modifications.{name}"
            for name in (
                *("token", "class", "record_version", "state", "proposed_by", "confirmed_by"),
                *("confirmed_how", "ended_by", "ended_at", "reason", "mask", "envelope"),
                *("wrapped_key", "kek", "kek_version", "fingerprint", "fingerprint_version"),
                *("variant", "bound_by", "bound_path"),
            )
        },
        "vault_reveal": everybody
        | {
            f"disclosure_budgets.{name}"
            for name in ("hour_at", "hour_spent", "day_at", "day_spent")
        }
        | {"disclosures.state", "disclosures.uses_left", "disclosures.ended_at"}
        | {"disclosure_tokens.used_at", "disclosure_tokens.entry"},
        "vault_console": everybody
        | {f"principals.{name}" for name in ("roles", "state")}
        | {f"api_keys.{name}" for name in ("state", "confirmed_by", "confirmed_at", "revoked_at")}
        | {f"leases.{name}" for name in ("holder", "taken_at")}
        | {"rotations.state"}
        | {f"honeytokens.{when}_{how}" for when in ("planted", "lifted") for how in ("by", "at")}
        | {f"webhook_deliveries.{name}" for name in ("state", "attempts", "next_at", "ended_at")}
        | {"evidence_documents.referred_at", "evidence_documents.created_at"}
        | {f"evidence_access.{name}" for name in ("officer", "granted_at", "expires_at")}
        | {"holds.released_by", "holds.released_at", "holds.release_envelope"}
        | {f"holds.release_{name}" for name in ("wrapped_key", "kek", "kek_version")}
        | {f"erasures.{name}" for name in ("state", "confirmed_by", "started_at")}
        | {"principals.review_due", "access_reviews.completed_at"}
        | {f"access_review_items.{name}" for name in ("decision", "decided_by", "decided_at")}
        | {
            f"disclosures.{name}"
            for name in ("state", "submitted_at", "activated_at", "expires_at", "ended_at")
        },
        "vault_worker": everybody
        | {"DELETE idempotency", "DELETE ledger_outbox", "DELETE helpdesk_messages"}
        | {"DELETE dpop_nonces", "DELETE dpop_proofs"}
        | {"DELETE usage_counts", "TRUNCATE usage_keys", "usage_counts.sketch"}
        | {"DELETE webhook_outbox", "webhook_outbox.created_at", "DELETE webhook_deliveries"}
        | {
            f"webhook_deliveries.{name}"
            for name in ("state", "attempts", "next_at", "ended_at", "last_status", "last_error")
        }
        | {"DELETE evidence_documents"}
        | {f"evidence_documents.{name}" for name in ("wrapped_key", "kek_version")}
        | {"DELETE ledger_tail", "DELETE ledger_checkpoints", "ledger_edge.hashes"}
        | {
            f"ledger_tree.{name}"
            for name in ("origin", "size", "root", "signed_size", "unsigned_since")
        }
        | {f"records.{name}" for name in ("wrapped_key", "kek_version", "bound_by", "bound_path")}
        | {
            f"modifications.{name}"
            for name in (
                *("wrapped_key", "kek", "kek_version", "state", "ended_by", "ended_at"),
                *("envelope", "fingerprint", "fingerprint_version", "variant"),
                *("bound_by", "bound_path"),
            )
        }
        | {
            f"activity_segments.{name}"
            for name in ("wrapped_key", "kek_version", "bound_by", "bound_path")
        }
        | {f"disclosure_decisions.comment_{name}" for name in ("wrapped_key", "kek_version")}
        | {f"erasures.{name}" for name in ("state", "records", "clear_at", "finished_at")}
        | {f"erasures.{name}" for name in ("backup_horizon_days", "entry")}
        | {"access_reviews.completed_at", "access_reviews.overdue_at"}
        | {f"holds.details_{name}" for name in ("wrapped_key", "kek_version")}
        | {f"holds.release_{name}" for name in ("wrapped_key", "kek_version")}
        | {f"recipients.details_{name}" for name in ("wrapped_key", "kek_version")}
        | {
            f"rotations.{name}"
            for name in ("state", "from_version", "to_version", "total", "rewrapped", "failed")
        }
        | {f"key_census.{name}" for name in ("wrapped", "counted_at", "overdue_since")}
        | {f"rotations.{name}" for name in ("started_at", "clear_at", "finished_at", "trimmed_at")}
        | {f"leases.{name}" for name in ("holder", "taken_at")}
        | {f"key_floors.{name}" for name in ("key", "min_version", "updated_at")}
        | {
            f"disclosures.{name}"
            for name in ("state", "ended_at", "details_wrapped_key", "details_kek_version")
        },
    }


def test_the_erasing_functions_are_pinned_and_owned_by_the_owner(database: Database) -> None:
    """A function with the owner's rights looks up nothing by a caller's search_path."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT proname, prosecdef, proconfig, proowner = 'vault_owner'::regrole FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace"
        ).fetchall()
    assert {row[0] for row in rows} == {
        "erase_records",
        "erase_expired_duplicates",
        "erase_expired_records",
        "settle_holds",
        "begin_erasure",
        "erase_records_of",
        "settle_erasure",
        "forget_salts",
        "forget_answers",
        "revoke_touching_key",
        "apply_modification",
        "renew_fingerprints",
        "forget_versions",
        "forget_changes",
        "add_communication_chunks",
        "keep_communication",
        "drop_communication",
        "purge_communications",
        "record_activity",
        "open_activity_month",
        "erase_activity_of",
        "drop_activity_month",
    }
    patient = {"drop_activity_month": ["lock_timeout=2s"]}
    for name, definer, configured, owned in rows:
        assert configured == ["search_path=pg_catalog, pg_temp", *patient.get(name, [])]
        assert definer
        assert owned


def test_a_callers_own_tables_do_not_mislead_the_erasing_functions(
    database: Database, units: Units
) -> None:
    """A temporary table named `records` in the caller's session is not what gets erased."""
    offered = build.record(build.customer(units.ingest), "decoy")
    with units.ingest.begin() as tx:
        tx.records.upsert([offered])
    with database.connect("vault_worker") as connection:
        connection.execute(sql.SQL("CREATE TEMP TABLE records (bucket smallint, token text)"))
        connection.execute(
            "SELECT * FROM erase_records(%s::smallint[], %s)",
            ([offered.bucket], [offered.token]),
        )
    with units.ingest.begin(read_only=True) as tx:
        assert tx.records.masked([(offered.bucket, offered.token)]) == {}


def test_a_refused_statement_is_an_internal_error_without_details(units: Units) -> None:
    """A missing right is the service's fault, told by its SQLSTATE alone."""
    with pytest.raises(ServiceError, match="sqlstate 42501") as caught, units.console.begin() as tx:
        tx.records.sealed([(1, "tok_a")])
    assert caught.value.code == "internal_error"
