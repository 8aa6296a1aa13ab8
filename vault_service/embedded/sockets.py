"""The folder of a Unix socket: in the state folder, or a short one where that path is too long.

The path of a Unix socket may have 107 bytes. A longer state folder gets a private folder in the
temporary folder instead; which one is written down, and it is used again while it is still ours.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from vault_service.embedded.files import own_tree, private_folder, write_private

_SOCKET_NAME: Final = ".s.PGSQL.5432"
_PATH_BYTES: Final = 107  # sun_path holds 108 with the closing zero, see unix(7)
_PRIVATE: Final = 0o700


class SocketFolder:
    """Where a server of the state's folder ``parent`` puts its socket."""

    def __init__(self, parent: Path) -> None:
        self._own = parent / "socket"
        self._record = parent / "socket-folder"

    @property
    def path(self) -> Path:
        """The folder chosen by the last `make`."""
        return Path(self._record.read_text(encoding="utf-8"))

    def make(self, owner: tuple[int, int] | None) -> Path:
        """Choose and make the folder (0700), give it to ``owner``, and return it."""
        folder = self._own
        if _fits(folder):
            private_folder(folder)
        else:
            with contextlib.suppress(FileNotFoundError):
                folder = self.path
            if not _is_ours(folder, owner):
                folder = Path(tempfile.mkdtemp(prefix="vault-"))
        own_tree(folder, owner)
        write_private(self._record, str(folder))
        return folder


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / _SOCKET_NAME)) <= _PATH_BYTES


def _is_ours(folder: Path, owner: tuple[int, int] | None) -> bool:
    """Whether a recorded folder is still there, short, private, and nobody else's."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    users = {os.geteuid(), *(owner or ())[:1]}
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == _PRIVATE
    return private and _fits(folder) and found.st_uid in users
