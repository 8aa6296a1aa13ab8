"""A small server and a principal's key for tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small_service import KEY, SmallService, small_service


@pytest.fixture
def small() -> Iterator[SmallService]:
    """A small server."""
    with small_service() as running:
        yield running


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file (0600) with a key that the small server takes."""
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(KEY + "\n", encoding="utf-8")
    return file
