"""Servers that may be hurt: a Vault of these tests' own, with a proxy before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.running import Running, start_service
from tests.support.servers import VaultServer
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
def own_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """A private Vault that nobody else uses, so that it may be sealed and stopped."""
    folder: Path = tmp_path_factory.mktemp("own-vault")
    with Vault(folder, environment="development", announce=lambda _: None) as vault:
        yield vault


@pytest.fixture(scope="session")
def proxy(own_vault: Vault) -> Iterator[FaultProxy]:
    """The proxy through which everybody speaks to the private Vault."""
    with fault_proxy(own_vault.address) as made:
        yield made


@pytest.fixture(scope="session")
def vault_server(own_vault: Vault, proxy: FaultProxy) -> VaultServer:
    """The private Vault in the place of the shared one; it keeps its address over restarts."""
    return VaultServer(address=proxy.address, token=own_vault.token(), embedded=own_vault)


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Running]) -> Running:
    """One service with one worker."""
    return start_service(workers=1)
