"""Migrations: up, down, up again; two at once; roles that are there already; a wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from migrations import runner
from tests.support.servers import SERVICE_ROLES, Database, DatabaseServer
from vault_service.storage.tables import metadata

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bare(postgres_server: DatabaseServer) -> Iterator[Database]:
    """A database without a table, for one test."""
    with postgres_server.empty() as database:
        yield database


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; from migrations import runner; {program}", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told


def _tables(database: Database) -> set[str]:
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    return {row[0] for row in rows}


def _functions(database: Database) -> int:
    with database.connect() as connection:
        return len(
            connection.execute(
                "SELECT 1 FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            ).fetchall()
        )


def _rights(database: Database) -> list[tuple[object, ...]]:
    """Every right on every table, column, function and schema, and every constraint and index."""
    with database.connect() as connection:
        return connection.execute(
            "SELECT 'table', relname, relacl::text FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relname <> 'alembic_version_pkc'"
            " UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, attacl::text"
            " FROM pg_attribute WHERE attacl IS NOT NULL"
            " AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace ="
            " 'public'::regnamespace)"
            " UNION ALL SELECT 'function', proname, proacl::text FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'schema', nspname, nspacl::text FROM pg_namespace"
            " WHERE nspname = 'public'"
            " UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes"
            " WHERE schemaname = 'public'"
            " ORDER BY 1, 2, 3"
        ).fetchall()


def test_migrations_go_up_down_and_up_again(bare: Database) -> None:
    """The second schema equals the first, rights included; the base is empty."""
    assert runner.current(bare.owner_url) is None
    runner.upgrade(bare.owner_url)
    assert runner.current(bare.owner_url) == runner.head()
    assert _tables(bare) == {*metadata.tables, "alembic_version"}
    first = _rights(bare)
    runner.downgrade(bare.owner_url, "base")
    assert runner.current(bare.owner_url) is None
    assert _tables(bare) == {"alembic_version"}
    assert _functions(bare) == 0
    runner.upgrade(bare.owner_url)
    assert _rights(bare) == first


def test_each_migration_can_be_taken_back_alone(bare: Database) -> None:
    """Step by step, up one and down one and up again."""
    versions = (ROOT / "migrations" / "versions").glob("0*.py")
    for revision in sorted(path.name[:4] for path in versions):
        runner.upgrade(bare.owner_url, revision)
        after = _rights(bare)
        runner.downgrade(bare.owner_url, "-1")
        runner.upgrade(bare.owner_url, revision)
        assert _rights(bare) == after
    assert runner.current(bare.owner_url) == runner.head()


def test_the_schema_equals_the_declared_tables(bare: Database) -> None:
    """`alembic check` finds nothing, and `check` tells of what differs."""
    assert runner.check(bare.owner_url) == [
        f"the schema stands at nothing and not at {runner.head()}"
    ]
    runner.upgrade(bare.owner_url)
    assert runner.check(bare.owner_url) == []
    with bare.connect() as connection:
        connection.execute("ALTER TABLE records ADD COLUMN note text")
        connection.execute("ALTER TABLE policies ALTER COLUMN body DROP NOT NULL")
    assert len(runner.check(bare.owner_url)) == 2


def test_every_check_constraint_of_the_declared_tables_is_in_the_schema(bare: Database) -> None:
    """Alembic compares no CHECK constraints, so this does, text by text."""
    runner.upgrade(bare.owner_url)
    with bare.connect() as connection:
        found = {
            row[0]
            for row in connection.execute(
                "SELECT conname FROM pg_constraint WHERE contype = 'c'"
                " AND connamespace = 'public'::regnamespace"
            )
        }
        before = _checks(connection)
        connection.execute("CREATE SCHEMA declared")
        connection.execute("SET search_path = declared")
        for statement in _declared():
            connection.execute(statement.encode())
        assert _checks(connection) == before
    assert found == {name for name, _ in before}


def _checks(connection: psycopg.Connection[tuple[object, ...]]) -> set[tuple[object, object]]:
    rows = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'"
        " AND connamespace = current_schema()::regnamespace"
    ).fetchall()
    return {(row[0], row[1]) for row in rows}


def _declared() -> list[str]:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    return [
        str(CreateTable(table).compile(dialect=postgresql.dialect()))
        for table in metadata.sorted_tables
    ]


def test_two_upgraders_do_not_collide(bare: Database) -> None:
    """Three at once: one works, the others wait and find nothing left to do."""
    _finish([_start("runner.upgrade(sys.argv[1])", bare.owner_url) for _ in range(3)])
    assert runner.check(bare.owner_url) == []


def test_databases_of_one_cluster_can_be_migrated_at_once(postgres_server: DatabaseServer) -> None:
    """Roles belong to the cluster; whoever comes second finds them there."""
    with (
        postgres_server.empty() as one,
        postgres_server.empty() as two,
        postgres_server.empty() as three,
    ):
        program = (
            "[(runner.upgrade(sys.argv[1]), runner.downgrade(sys.argv[1], 'base'))"
            " for _ in range(2)]"
        )
        _finish([_start(program, database.owner_url) for database in (one, two, three)])
        with one.connect() as connection:
            found = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (list(SERVICE_ROLES),)
            ).fetchall()
        assert {row[0] for row in found} == set(SERVICE_ROLES)


def test_a_new_role_has_no_login_and_no_powers(bare: Database) -> None:
    """A password is given by whoever runs the service, never by a migration."""
    text = (ROOT / "migrations" / "versions" / "0001_roles.py").read_text(encoding="utf-8")
    assert "NOLOGIN" in text
    assert "PASSWORD" not in text
    runner.upgrade(bare.owner_url)
    with bare.connect() as connection:
        rows = connection.execute(
            "SELECT bool_or(rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls"
            " OR rolreplication) FROM pg_roles WHERE rolname = ANY(%s)",
            (list(SERVICE_ROLES),),
        ).fetchone()
    assert rows == (False,)


def test_a_step_does_not_queue_behind_a_long_transaction(
    bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives up, the steps before it stay, and the next run goes on."""
    monkeypatch.setattr(runner, "LOCK_TIMEOUT_MS", 100)
    runner.upgrade(bare.owner_url, "0005")
    with bare.connect() as connection:
        connection.execute("SELECT 1 FROM idempotency")
        with pytest.raises(runner.MigrationError) as caught:
            runner.downgrade(bare.owner_url, "0004")
    assert caught.value.code == "migration_locked"
    assert runner.current(bare.owner_url) == "0005"
    runner.upgrade(bare.owner_url)


def test_a_second_upgrader_does_not_wait_for_ever(
    bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the lock for too long is told of."""
    monkeypatch.setattr(runner, "LOCK_WAIT_MS", 100)
    with bare.connect() as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (runner.LOCK_KEY,))
        with pytest.raises(runner.MigrationError) as caught:
            runner.upgrade(bare.owner_url)
    assert caught.value.code == "migration_locked"


def test_a_failing_step_is_told_without_its_url_or_rows(bare: Database) -> None:
    """The server's first line, and not the row that it quotes."""
    with bare.connect() as connection:
        connection.execute("CREATE TABLE principals (a int)")
    with pytest.raises(runner.MigrationError) as caught:
        runner.upgrade(bare.owner_url)
    assert caught.value.code == "migration_failed"
    assert "already exists" in str(caught.value)
    assert caught.value.__context__ is None
    assert runner.current(bare.owner_url) == "0001"


def test_no_server_and_no_url_are_told_apart() -> None:
    """Without quoting what was given, which may hold a password."""
    for url, code in (
        ("postgresql://u:hidden@127.0.0.1:1/db", "database_unavailable"),
        ("not a url: hidden", "settings_invalid"),
    ):
        with pytest.raises(runner.MigrationError) as caught:
            runner.current(url)
        assert caught.value.code == code
        assert "hidden" not in str(caught.value)
        assert caught.value.__context__ is None


def test_an_unknown_revision_is_told(bare: Database) -> None:
    """A release that is older than the database's schema does not touch it."""
    with pytest.raises(runner.MigrationError, match="9999") as caught:
        runner.upgrade(bare.owner_url, "9999")
    assert caught.value.code == "migration_failed"


def test_migrations_work_from_an_installed_package(bare: Database, tmp_path: Path) -> None:
    """Copied out of the tree, as a wheel lays them, and started from another folder."""
    names = [
        *ROOT.glob("migrations/**/*.py"),
        *ROOT.glob("migrations/*.mako"),
        *ROOT.glob("vault_service/**/*.py"),
        *ROOT.glob("keys/**/*.py"),
    ]
    archive = tmp_path / "laid-out.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in names:
            packed.write(name, name.relative_to(ROOT))
    site = tmp_path / "100% site"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(site)
    program = (
        "import sys; sys.path.insert(0, sys.argv[2]);"
        "from migrations import runner;"
        "assert runner.__file__.startswith(sys.argv[2]);"
        "runner.upgrade(sys.argv[1]); print(runner.current(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, bare.owner_url, str(site)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == runner.head()
