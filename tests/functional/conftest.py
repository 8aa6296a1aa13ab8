"""The whole service in one process, on the real servers: use cases without HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keys import declared, spool
from keys import inventory as key_inventory
from keys.admin import AdminTransit
from keys.secret import Secret
from tests.support.servers import Database, VaultMount
from vault_service.bootstrap import Services, build
from vault_service.domain.actors import Principal, Role
from vault_service.services.context import Caller
from vault_service.settings import Environment, ProcessRole, Settings

ROLES = ("ingest", "reveal", "review", "rotate", "sign-token", "sign-ledger", "inspect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The principals of the module's database, by name."""

    principals: dict[str, tuple[str, str, frozenset[Role]]]

    def caller(self, name: str) -> Caller:
        """A principal making a request now."""
        principal, key_id, roles = self.principals[name]
        return Caller(
            principal=Principal(id=principal, name=name, roles=roles),
            key_id=key_id,
            request_id="req_" + "0" * 26,
            address="127.0.0.1",
            deadline=time.monotonic() + 30,
        )


PEOPLE = (
    ("billing", ("billing",)),
    ("support", ("support",)),
    ("requester", ("requester",)),
    ("officer-1", ("officer",)),
    ("officer-2", ("officer",)),
    ("auditor", ("auditor",)),
    ("operator", ("operator",)),
)


@pytest.fixture(scope="module")
def prepared_vault(
    vault_mount: VaultMount, tmp_path_factory: pytest.TempPathFactory
) -> tuple[VaultMount, Path]:
    """The declared keys and roles applied, and a spool with plenty of secret-ids."""
    folder = tmp_path_factory.mktemp("spool")
    folder.chmod(0o700)
    admin = AdminTransit(
        address=vault_mount.address,
        token=Secret(vault_mount.token.encode()),
        mount=vault_mount.mount,
        approle_prefix=vault_mount.prefix,
    )
    inventory = declared.load(mount=vault_mount.mount, prefix=vault_mount.prefix)
    key_inventory.apply(inventory, admin)
    for role in ROLES:
        spool.issue(admin, role, folder, 8)
    admin.close()
    return vault_mount, folder


@pytest.fixture(scope="module")
def settings_for(
    database: Database, prepared_vault: tuple[VaultMount, Path]
) -> Callable[[ProcessRole], Settings]:
    """Settings of a process role against the module's servers."""
    mount, folder = prepared_vault

    def settings(role: ProcessRole) -> Settings:
        return Settings(
            env=Environment.DEVELOPMENT,
            stand_in=True,
            process_role=role,
            database_ingest_url=database.url("vault_ingest"),
            database_reveal_url=database.url("vault_reveal"),
            database_console_url=database.url("vault_console"),
            database_worker_url=database.url("vault_worker"),
            vault_address=mount.address,
            vault_mount=mount.mount,
            vault_prefix=mount.prefix,
            vault_spool=folder,
            issuer="https://vault.example",
        )

    return settings


@pytest.fixture(scope="module")
def services(settings_for: Callable[[ProcessRole], Settings]) -> Iterator[Services]:
    """All use cases of a serving process."""
    built = build(settings_for(ProcessRole.ALL))
    yield built
    built.close()


@pytest.fixture(scope="module")
def worker(settings_for: Callable[[ProcessRole], Settings]) -> Iterator[Services]:
    """The worker's use cases."""
    built = build(settings_for(ProcessRole.WORKER))
    yield built
    built.close()


@pytest.fixture(scope="module")
def cast(services: Services) -> Cast:
    """The first principals."""
    assert services.principals is not None
    issued = services.principals.bootstrap(PEOPLE, keep=lambda _: None)
    return Cast(
        principals={
            each.principal.name: (
                each.principal.id,
                each.id,
                frozenset(Role(role) for role in each.principal.roles),
            )
            for each in issued
        }
    )
