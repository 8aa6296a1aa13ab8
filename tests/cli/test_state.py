"""The state folder: one process at a time, and nothing of anybody else's is removed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from vault_service.cli.state import StateFolder
from vault_service.errors import Conflict, InvalidInput


def test_a_new_folder_is_private_and_marked(tmp_path: Path) -> None:
    """It is made with everything above it."""
    state = StateFolder(tmp_path / "a" / "var")
    with state.held():
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
        assert {path.name for path in state.path.iterdir()} == {"lock", "vault-service.state"}


def test_it_is_held_once(tmp_path: Path) -> None:
    """The second is told who holds it; after the first has let go it may."""
    first, second = StateFolder(tmp_path / "var"), StateFolder(tmp_path / "var")
    with first.held(), pytest.raises(Conflict) as caught, second.held():
        pass
    assert caught.value.code == "already_running"
    assert caught.value.hint is not None
    with second.held():
        pass


@pytest.mark.parametrize("name", ["lock", ".vault-service.state.0a1b2c3d"])
def test_a_start_that_died_at_once_is_no_obstacle(tmp_path: Path, name: str) -> None:
    """A lock, or half a mark, is still nobody's data."""
    (tmp_path / name).touch()
    with StateFolder(tmp_path).held():
        assert (tmp_path / "vault-service.state").exists()


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """Files without our mark are somebody's."""
    (tmp_path / "thesis").touch()
    with pytest.raises(InvalidInput) as caught, StateFolder(tmp_path).held():
        pass
    assert caught.value.code == "state_folder_foreign"


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    """A path that cannot be a folder says so."""
    (tmp_path / "var").touch()
    with pytest.raises(InvalidInput) as caught, StateFolder(tmp_path / "var").held():
        pass
    assert caught.value.code == "state_folder_unusable"


def test_clearing_leaves_lock_and_mark_and_follows_no_link(tmp_path: Path) -> None:
    """Everything else goes; what a link points to stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    state = StateFolder(tmp_path / "var")
    with state.held():
        (state.folder("postgres") / "data").touch()
        (state.path / "file").touch()
        (state.path / "link").symlink_to(outside)
        state.clear()
        assert {path.name for path in state.path.iterdir()} == {"lock", "vault-service.state"}
    assert (outside / "kept").exists()


def test_clearing_takes_the_far_socket_folder_along(tmp_path: Path) -> None:
    """Of folders outside, only the one made for the socket is removed."""
    state = StateFolder(tmp_path / "var")
    for name, goes in (("vault-abc", True), ("other", False)):
        far = tmp_path / name
        far.mkdir()
        with state.held():
            (state.folder("postgres") / "socket-folder").write_text(str(far))
            state.clear()
        assert far.exists() is not goes
