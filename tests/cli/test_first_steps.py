"""What an operator does once, on a database of his own: the schema, and the first principals."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.servers import Database, DatabaseServer
from vault_service.cli.first_run import PEOPLE


@pytest.fixture
def bare(postgres_server: DatabaseServer) -> Iterator[Database]:
    """A database without a table, for one test."""
    with postgres_server.empty() as found:
        yield found


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line of a host without a credentials file."""
    file = tmp_path / "nobody.json"
    file.touch(mode=0o600)
    file.write_text('{"principals": []}')
    return Cli(file)


def test_database_upgrade_brings_the_schema(
    bare: Database, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's URL suffices; `check` tells before and after; a second upgrade does nothing."""
    monkeypatch.setenv("VAULT_SERVICE_DATABASE_OWNER_URL", bare.owner_url)
    before = cli("database", "check")
    assert before.code == 5
    assert not before.body["ok"]
    monkeypatch.setenv("VAULT_SERVICE_DATABASE_OWNER_URL", bare.owner_url)
    done = cli("database", "upgrade")
    assert done.code == 0, done.err
    assert done.body["from"] is None
    monkeypatch.setenv("VAULT_SERVICE_DATABASE_OWNER_URL", bare.owner_url)
    assert cli("database", "upgrade").body["from"] == done.body["to"]
    monkeypatch.setenv("VAULT_SERVICE_DATABASE_OWNER_URL", bare.owner_url)
    after = cli("database", "check")
    assert (after.code, after.body) == (0, {"ok": True, "differences": []})


def test_database_commands_say_what_is_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the owner's URL, or with one that leads nowhere, the reason and the exit code fit."""
    missing = cli("database", "upgrade")
    assert (missing.code, missing.error) == (2, "settings_invalid")
    for command in ("upgrade", "check"):
        monkeypatch.setenv("VAULT_SERVICE_DATABASE_OWNER_URL", "postgresql://o@127.0.0.1:1/none")
        away = cli("database", command)
        assert (away.code, away.error) == (6, "database_unavailable")


def test_first_principals_are_made_once(
    database: Database, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty vault gets one principal for each role and two officers, and never again."""

    def settings() -> None:
        for name, value in {
            "DATABASE_CONSOLE_URL": database.url("vault_console"),
            "VAULT_ADDRESS": "http://127.0.0.1:1",
            "VAULT_SPOOL": str(tmp_path),
            "ISSUER": "https://vault.example.com",
        }.items():
            monkeypatch.setenv(f"VAULT_SERVICE_{name}", value)

    output = tmp_path / "first.json"
    settings()
    done = cli("--url", "https://vault.example.com", "principals", "first", "--output", str(output))
    assert done.code == 0, done.err
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    kept = json.loads(output.read_text())
    assert kept["base_url"] == "https://vault.example.com"
    assert [each["name"] for each in kept["principals"]] == [name for name, _ in PEOPLE]
    for each in kept["principals"]:
        assert each["key"] not in done.out
    settings()
    again = cli("principals", "first", "--output", str(tmp_path / "second.json"))
    assert (again.code, again.error) == (5, "principals_exist")
    assert not (tmp_path / "second.json").exists()
    settings()
    taken = cli("principals", "first", "--output", str(output))
    assert taken.code == 2
    assert json.loads(output.read_text()) == kept
