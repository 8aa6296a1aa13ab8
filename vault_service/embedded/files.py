"""Private files and folders of a state directory.

Every file here is made with mode 0600 and replaced by rename, so that a kill at any instruction
leaves either the old file or the new one. May not log or print what it writes.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import BinaryIO


class EmbeddedError(Exception):
    """An embedded server cannot do what was asked.

    Attributes:
        code: stable, machine-readable.
        hint: what to do about it, where there is something to do.
    """

    code = "embedded_server_failed"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class EmbeddedRefused(EmbeddedError):
    """A stand-in was asked to serve in production."""

    code = "embedded_refused_in_production"


def refuse_production(environment: str, *, what: str) -> None:
    """Return when ``environment`` is not ``production``.

    Raises:
        EmbeddedRefused: it is.
    """
    if environment == "production":
        raise EmbeddedRefused(
            f"{what} is for trying out and refuses to start in production",
            hint="bring a PostgreSQL and a Vault of your own; the README says how",
        )


def private_folder(path: Path, mode: int = 0o700) -> Path:
    """Make ``path`` with ``mode`` whatever the umask says, and return it."""
    path.mkdir(parents=True, exist_ok=True)
    if path.stat().st_mode & 0o777 != mode:
        path.chmod(mode)
    return path


def write_private(path: Path, content: bytes | str) -> Path:
    """Write ``content`` to ``path`` (0600) durably and in one step, and return ``path``."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def own_tree(folder: Path, owner: tuple[int, int] | None) -> None:
    """Give a folder and all in it to ``owner`` (root when None), if an earlier start had another.

    Only root can, and only root needs to: it alone starts servers as somebody else.
    """
    if os.geteuid() != 0:
        return
    uid, gid = owner or (os.geteuid(), os.getegid())
    if folder.stat().st_uid == uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, uid, gid, follow_symlinks=False)
    os.chown(folder, uid, gid)  # last: it says that the whole is done


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending; made with mode 0600."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def rotate_log(path: Path, *, limit: int, keep: int) -> bool:
    """Move ``path`` aside when it is larger than ``limit`` bytes, keeping ``keep`` older ones.

    Returns:
        Whether it was moved, so that the writer has to open its file again.
    """
    try:
        if path.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    for number in range(keep, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists() and number == keep:
            older.unlink()
        elif older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))
    return True
