"""A process of the service that dies again and again is given up, with its last words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from vault_service import settings
from vault_service.cli import supervised
from vault_service.cli.supervised import ChildLost, Supervised


def watch(process: Supervised) -> None:
    """Look after a process for a while."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        process.child.wait(10)
        process.look()


def test_a_process_that_keeps_dying_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is revived a few times, each told, and then the run ends with the reason."""
    monkeypatch.setattr(supervised, "BACKOFF_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(supervised, "MAX_DEATHS", 2)
    (tmp_path / "logs").mkdir()
    told: list[str] = []
    process = Supervised(
        "serve",
        ("no-such-command",),
        state=tmp_path,
        environment=settings.for_children(tmp_path / "service.toml", decided=()),
        tell=told.append,
    )
    process.launch()
    with pytest.raises(ChildLost, match="died too often") as caught:
        watch(process)
    assert "no-such-command" in caught.value.detail
    assert [line.rpartition("; ")[2] for line in told] == [
        "starting it again in 0.01 s",
        "starting it again in 0.02 s",
    ]


def test_children_get_settings_from_the_file_alone(tmp_path: Path) -> None:
    """What the file decides is taken out of the environment; other settings pass."""
    given = {
        "PATH": "/bin",
        "VAULT_SERVICE_PORT": "1",
        "VAULT_SERVICE_DATABASE_INGEST_URL_FILE": "elsewhere",
        "VAULT_SERVICE_LOG_LEVEL": "debug",
        "VAULT_SERVICE_CONFIG": "mine.toml",
    }
    decided = ("port", "database_ingest_url")
    assert settings.for_children(tmp_path / "c", decided=decided, environ=given) == {
        "PATH": "/bin",
        "VAULT_SERVICE_LOG_LEVEL": "debug",
        "VAULT_SERVICE_CONFIG": str(tmp_path / "c"),
    }
