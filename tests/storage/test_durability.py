"""The check that the database keeps what it acknowledged."""

from __future__ import annotations

import pytest

from migrations import runner
from tests.support.servers import Database
from vault_service.storage import durability, engine
from vault_service.storage.unit_of_work import SqlUnitOfWork

SAFE = {"fsync": "on", "full_pages": "on", "commit": "on", "names": "", "standbys": 0}


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, []),
        ({"commit": "remote_apply", "names": "ANY 1 (a, b)", "standbys": 2}, []),
        ({"names": "*", "standbys": 0}, []),
        ({"fsync": "off"}, ["fsync"]),
        ({"full_pages": "off"}, ["full_page_writes"]),
        ({"commit": "off"}, ["synchronous_commit"]),
        ({"standbys": 1}, ["standbys"]),
        ({"standbys": 1, "names": "  "}, ["standbys"]),
        ({"standbys": 1, "names": "a", "commit": "local"}, ["synchronous_commit"]),
        ({"fsync": "off", "commit": "off"}, ["fsync", "synchronous_commit"]),
    ],
)
def test_d2_settings_that_can_lose_a_commit_are_told(
    changes: dict[str, object], reasons: list[str]
) -> None:
    """Each reason names its setting; a single server needs no standby."""
    found = durability.judge(**(SAFE | changes))  # type: ignore[arg-type]
    assert [reason.split()[0] for reason in found] == reasons


def test_d2_asynchronous_commit_of_a_role_is_noticed(database: Database) -> None:
    """What counts is what holds for the process's own sessions."""

    def reasons(options: str) -> list[str]:
        url = database.url("vault_reveal")
        made = engine.create(
            f"{url}{'&' if '?' in url else '?'}{options}", application_name="x", pool_size=1
        )
        unit = SqlUnitOfWork(made)
        try:
            return [reason.split()[0] for reason in unit.check_durability()]
        finally:
            unit.close()

    assert "synchronous_commit" not in reasons("")
    assert "synchronous_commit" in reasons("options=-csynchronous_commit%3Doff")


def test_the_release_and_its_migrations_agree() -> None:
    """The revision that readiness asks for is the newest migration."""
    assert runner.head() == durability.SCHEMA_REVISION


def test_another_schema_is_told(empty_database: Database) -> None:
    """An empty database, and one that stands at an older revision."""
    unit = SqlUnitOfWork(engine.create(empty_database.owner_url, application_name="x", pool_size=1))
    assert unit.check_schema() == "none"
    runner.upgrade(empty_database.owner_url, "0002")
    assert unit.check_schema() == "0002"
    runner.upgrade(empty_database.owner_url)
    assert unit.check_schema() is None
    unit.close()
