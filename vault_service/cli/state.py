"""The folder that holds everything of a first run: one process at a time, marked as ours.

    vault-service.state   says that the folder is ours; made first, removed last
    lock                  held (flock) by the running `vault-service up`
    credentials.json      the first principals' keys, for people
    service.toml          settings of the service's own processes
    secrets/ postgres/ vault/ spool/ metrics/ logs/

Nothing here is removed unless the mark is there, so that `--fresh --state ~` cannot end badly.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vault_service.embedded.files import private_folder, write_private
from vault_service.errors import Conflict, InvalidInput

_MARK: Final = "vault-service.state"
_MARK_TEXT: Final = "vault-service state 1\n"
_LOCK: Final = "lock"


class StateFolder:
    """A state folder, locked by this process while `held`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder if need be, and hold it for this process alone.

        Raises:
            Conflict: another process holds it.
            InvalidInput: the folder is not empty and not ours, or cannot be used.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInput(
                f"the state folder cannot be used: {error.strerror}",
                code="state_folder_unusable",
                hint="choose another folder with --state",
            ) from error
        try:
            self._take(lock)
            self._mark()
            yield
        finally:
            os.close(lock)

    def clear(self) -> None:
        """Remove everything but the lock; the mark goes last. Call it while held."""
        self._drop_far_socket()
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == _MARK):
            if entry.name == _LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self._mark()

    def folder(self, name: str) -> Path:
        """A private folder in the state, made if need be."""
        return private_folder(self.path / name)

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
            raise Conflict(
                f"a vault is already running with this state folder (process {holder or '?'})",
                code="already_running",
                hint="stop it first, or choose another folder with --state",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)

    def _mark(self) -> None:
        mark = self.path / _MARK
        if mark.exists():
            return
        # A kill between making the folder and marking it leaves the lock, or half a mark.
        if any(
            entry.name != _LOCK and not entry.name.startswith(f".{_MARK}.")
            for entry in self.path.iterdir()
        ):
            raise InvalidInput(
                "the state folder holds files that are not this service's",
                code="state_folder_foreign",
                hint="choose an empty or a new folder with --state",
            )
        write_private(mark, _MARK_TEXT)

    def _drop_far_socket(self) -> None:
        """Remove the socket's folder if it had to be made outside the state folder."""
        with contextlib.suppress(OSError):
            far = Path((self.path / "postgres" / "socket-folder").read_text(encoding="utf-8"))
            if far.name.startswith("vault-") and self.path not in far.parents:
                shutil.rmtree(far)
