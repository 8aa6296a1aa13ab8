"""Private files are private, whole, and logs stay small."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vault_service.embedded.files import (
    EmbeddedRefused,
    open_log,
    private_folder,
    refuse_production,
    rotate_log,
    write_private,
)


def mode(path: Path) -> int:
    """Permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """A loose umask opens nothing, a tight one closes nothing that is ours."""
    before = os.umask(0)
    try:
        assert mode(write_private(tmp_path / "a", b"1")) == 0o600
        assert mode(private_folder(tmp_path / "b")) == 0o700
        open_log(tmp_path / "c").close()
        assert mode(tmp_path / "c") == 0o600
    finally:
        os.umask(before)


def test_write_replaces_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """The new content stands alone."""
    write_private(tmp_path / "a", "old and longer")
    write_private(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "new"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """What cannot be put in place is taken away."""
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        write_private(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_logs_rotate_over_the_limit_and_the_oldest_goes(tmp_path: Path) -> None:
    """As many older ones are kept as asked for, newest first."""
    log = tmp_path / "log"
    assert not rotate_log(log, limit=1, keep=2)
    for text in ("one", "two", "three", "four"):
        log.write_text(text)
        assert not rotate_log(log, limit=10, keep=2)
        assert rotate_log(log, limit=2, keep=2)
    names = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert names == {"log.1": "four", "log.2": "three"}


def test_production_is_refused() -> None:
    """A stand-in says no, with a stable code and a way out."""
    refuse_production("development", what="it")
    with pytest.raises(EmbeddedRefused) as caught:
        refuse_production("production", what="the thing")
    assert caught.value.code == "embedded_refused_in_production"
    assert caught.value.hint is not None
