"""Alembic's environment: runs the steps on the connection that the runner hands over.

Each step is a transaction of its own, so that a step that fails leaves the ones before it in
place and nothing half done. Runs only under `migrations.runner`, which holds the lock and sets
the timeouts; there is no offline mode, because a script of SQL could not hold the lock.
"""

from __future__ import annotations

from typing import Final

from alembic import context
from sqlalchemy import Connection

from vault_service.storage.tables import metadata

NO_CONNECTION: Final = "migrations run through migrations.runner, which brings the connection"


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _start() -> None:
    connection = context.config.attributes.get("connection")
    if context.is_offline_mode() or not isinstance(connection, Connection):
        raise RuntimeError(NO_CONNECTION)
    _run(connection)


_start()
