"""Servers of these tests' own, on a disk that keeps what it was told, so that they may be hurt.

PostgreSQL runs with fsync, Vault with its audit devices, and both in one state folder with the
service's log and metrics, so that a test can look through all that was ever written.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.running import Running, start_service
from tests.support.servers import Database, DatabaseServer, VaultServer
from tests.support.whole import (
    cast,
    customer,
    prepared_vault,
    services,
    settings_for,
    stage,
    stage_database,
    stage_mount,
    worker,
)
from vault_service.embedded.postgres import Postgres
from vault_service.embedded.vault import Vault

__all__ = [
    "cast",
    "customer",
    "prepared_vault",
    "services",
    "settings_for",
    "stage",
    "stage_database",
    "stage_mount",
    "start_service",
    "worker",
]


@pytest.fixture(scope="session")
def state() -> Iterator[Path]:
    """The state folder, with a short path for PostgreSQL's socket."""
    folder = Path(tempfile.mkdtemp(prefix="vp-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def own_postgres(state: Path) -> Iterator[Postgres]:
    """A private PostgreSQL that loses nothing."""
    with Postgres(state, environment="development", durable=True) as server:
        yield server


@pytest.fixture(scope="session")
def own_vault(state: Path) -> Iterator[Vault]:
    """A private Vault with its audit devices."""
    with Vault(state, environment="development", announce=lambda _: None) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(own_postgres: Postgres) -> DatabaseServer:
    """The private PostgreSQL in the place of the shared one."""
    return DatabaseServer.of(own_postgres)


@pytest.fixture(scope="session")
def vault_server(own_vault: Vault) -> VaultServer:
    """The private Vault in the place of the shared one."""
    return VaultServer(address=own_vault.address, token=own_vault.token(), embedded=own_vault)


@pytest.fixture
def blank(stage_database: Database) -> None:
    """Tables without what earlier tests left: a log that has moved on, rows that nobody wrote."""
    with psycopg.connect(stage_database.admin_url, autocommit=True) as link:
        link.execute("TRUNCATE records, disclosures, ledger_outbox CASCADE")


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Running]) -> Running:
    """One service with one worker."""
    return start_service(workers=1)
