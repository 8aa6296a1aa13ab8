"""Everything below the service, for a first run: PostgreSQL, Vault, and what must be in them.

Starts both servers side by side, brings the schema and the key inventory up to date, gives the
database roles their logins, fills the spool of secret-ids, and writes the settings file that the
service's own processes read. The file holds no secret: a database URL names a password file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from keys import inventory
from keys.admin import AdminTransit
from keys.secret import Secret
from migrations.runner import upgrade
from vault_service.cli.spool_keeper import TOKEN_PERIOD, SpoolKeeper
from vault_service.cli.state import StateFolder
from vault_service.embedded.files import write_private
from vault_service.embedded.postgres import OWNER, Postgres
from vault_service.embedded.vault import Vault

SERVICE_ROLES: Final = ("ingest", "reveal", "console", "worker")
_FIRST_RUN_DONE: Final = "first-run-done"
# Each of the service's processes logs in once per role; a restart takes as many again.
_SECRET_IDS_SPARE: Final = 4


class Stack:
    """The servers of a state folder, which the caller holds.

    Args:
        state: the state folder.
        environment: ``production`` is refused.
        announce: takes what must be said loudly.

    Raises:
        EmbeddedRefused: in production.
    """

    def __init__(
        self, state: StateFolder, *, environment: str, announce: Callable[[str], None]
    ) -> None:
        self._state = state
        self._announce = announce
        self.postgres = Postgres(state.path, environment=environment)
        self.vault = Vault(state.path, environment=environment, announce=announce)
        self._keeper: SpoolKeeper | None = None

    @property
    def spool(self) -> Path:
        """The folder where secret-ids are delivered."""
        return self._state.path / "spool"

    def stop_orphans(self) -> None:
        """Stop servers that an earlier, killed start left.

        Raises:
            EmbeddedError: one does not stop.
        """
        self.postgres.child.stop_orphan()
        self.vault.child.stop_orphan()

    def start(self) -> None:
        """Start both servers and put into them what the service needs.

        To be called from the thread that stays, because the servers die with it.

        Raises:
            EmbeddedError: a server does not start.
            MigrationError: the schema cannot be brought up to date.
            KeysError: the keys cannot be brought up to date.
        """
        with ThreadPoolExecutor(max_workers=2) as pool:
            cluster = pool.submit(self.postgres.prepare)
            self.vault.prepare()
            self.vault.launch()
            cluster.result()
            self.postgres.launch()
            keys = pool.submit(self._settle_vault)
            database = pool.submit(self._settle_database)
            keys.result()
            database.result()

    @property
    def used(self) -> bool:
        """Whether an earlier run got as far as `first_run_done`."""
        return (self._state.path / _FIRST_RUN_DONE).exists()

    def first_run_done(self) -> None:
        """Note that the first principals' keys are in a file that people have."""
        if not self.used:
            write_private(self._state.path / _FIRST_RUN_DONE, "")

    def write_settings(self, *, host: str, port: int) -> tuple[Path, frozenset[str]]:
        """Write the service's settings file; returns it and the names that it decides."""
        values: dict[str, str | int | bool] = {
            "env": "development",
            "stand_in": True,
            "host": host,
            "port": port,
            "vault_address": self.vault.address,
            "vault_spool": str(self.spool),
            "metrics_dir": str(self._state.folder("metrics")),
            "database_owner_url": self.postgres.dsn(OWNER),
            **{
                f"database_{role}_url": self.postgres.dsn(f"vault_{role}") for role in SERVICE_ROLES
            },
        }
        # JSON's texts, numbers and switches are TOML's too.
        lines = [f"{name} = {json.dumps(v, ensure_ascii=False)}\n" for name, v in values.items()]
        file = write_private(self._state.path / "service.toml", "".join(lines))
        return file, frozenset(values)

    def stop(self) -> None:
        """Stop what runs; harmless when nothing does."""
        if self._keeper is not None:
            self._keeper.close()
        with ThreadPoolExecutor(max_workers=2) as pool:
            for server in (self.vault, self.postgres):
                pool.submit(server.stop)

    def _settle_database(self) -> None:
        self.postgres.settle()
        upgrade(self.postgres.dsn(OWNER))
        for role in SERVICE_ROLES:
            self.postgres.let_in(f"vault_{role}")

    def _settle_vault(self) -> None:
        self.vault.settle()
        declared = inventory.load()
        root = Secret(self.vault.token().encode())
        admin = AdminTransit(
            address=self.vault.address,
            token=root,
            mount=declared.mount,
            approle_prefix=declared.prefix,
        )
        try:
            inventory.apply(declared, admin)
            token = admin.create_token(f"{declared.prefix}issuer", TOKEN_PERIOD)
        finally:
            admin.close()
        self._keeper = SpoolKeeper(
            address=self.vault.address,
            token=token,
            prefix=declared.prefix,
            folder=self._state.folder("spool"),
            roles=declared.roles,
            count=len(os.sched_getaffinity(0)) + _SECRET_IDS_SPARE,
            trouble=self._announce,
        )
        self._keeper.fill()
        self._keeper.start()
