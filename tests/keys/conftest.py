"""Fixtures of the tests of keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keys.support import FakeVault, World, fake_vault, world_at
from tests.support.servers import VaultMount


@pytest.fixture(scope="module")
def world(vault_mount: VaultMount, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The inventory, applied at a fresh mount of the real server."""
    with world_at(vault_mount, tmp_path_factory.mktemp("spool")) as world:
        yield world


@pytest.fixture
def fake() -> Iterator[FakeVault]:
    """A server for faults."""
    with fake_vault() as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spool folder."""
    return tmp_path / "spool"
