"""Units of work under each database role, on the module's fresh database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.storage.build import Units
from tests.support.servers import Database
from vault_service.storage import engine
from vault_service.storage.unit_of_work import SqlUnitOfWork


@pytest.fixture(scope="module")
def units(database: Database) -> Iterator[Units]:
    """The four roles' units of work, each with its own login."""
    opened = {
        role: SqlUnitOfWork(
            engine.create(
                database.url(f"vault_{role}"), application_name=f"tests {role}", pool_size=8
            )
        )
        for role in ("ingest", "reveal", "console", "worker")
    }
    yield Units(**opened)
    for unit in opened.values():
        unit.close()
