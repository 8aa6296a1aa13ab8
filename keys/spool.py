"""Secret-ids on their way to the service: one single-use, response-wrapped one per file.

    <spool>/<role>/<anything>.json   0600
    {"role_id": "...", "wrapped_secret_id": "<wrapping token>", "created": "<iso>", "ttl": <s>}

A file is claimed by renaming it, which exactly one process wins. The token in it can be unwrapped
once: if it turns out to have been used, somebody else holds the secret-id, and that is an alarm.
A file that others may read is not used at all.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

from keys.errors import SecretIdMissing
from keys.secret import Secret

WRAP_TTL = timedelta(hours=24)  # how long a spooled secret-id may wait for its login
_FRESH_PART = 2 / 3  # an older file is replaced when the spool is filled
_USABLE_PART = (
    0.95  # leaves room for the login, so that an expired token is not taken for a used one
)
_READY = ".json"
_CLAIMED = ".claimed"
_EVIDENCE = ".intercepted"
_CLAIM_LASTS = 60.0  # seconds; an older claim was left by a process that died
_MAX_FILE = 16 * 1024
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class _Entry(msgspec.Struct):
    role_id: str
    wrapped_secret_id: str
    created: datetime
    ttl: float = WRAP_TTL.total_seconds()

    def __repr__(self) -> str:
        return "_Entry(hidden)"

    def age(self) -> float:
        return (datetime.now(UTC) - self.created).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A spooled secret-id that belongs to this process now; end it by one of the three verbs."""

    role_id: str
    wrapping_token: Secret
    _ready: Path
    _claimed: Path

    def spend(self) -> None:
        """Delete the file: its secret-id was used, or is lost."""
        self._claimed.unlink(missing_ok=True)

    def put_back(self) -> None:
        """Give the file back: Vault has certainly not seen its token used."""
        self._claimed.rename(self._ready)

    def keep_as_evidence(self) -> None:
        """Set the file aside: its token was used by somebody else."""
        self._claimed.rename(self._ready.with_suffix(_EVIDENCE))


class Spool:
    """The files of one role."""

    def __init__(self, folder: Path, role: str) -> None:
        self._folder = folder / role

    def claim(self) -> Claim:
        """Return the oldest usable secret-id; expired and unusable files are dropped on the way.

        Raises:
            SecretIdMissing: there is none.
        """
        for path in self._files():
            claimed = path.with_suffix(f"{_CLAIMED}-{os.getpid()}-{secrets.token_hex(4)}")
            try:
                path.rename(claimed)
            except FileNotFoundError:
                continue  # another process was faster
            entry = _read(claimed)
            if entry is None or entry.age() >= entry.ttl * _USABLE_PART:
                claimed.unlink(missing_ok=True)
                continue
            return Claim(
                role_id=entry.role_id,
                wrapping_token=Secret(entry.wrapped_secret_id.encode()),
                _ready=path,
                _claimed=claimed,
            )
        raise SecretIdMissing

    def _files(self) -> Iterator[Path]:
        return iter(sorted(self._folder.glob(f"*{_READY}")))  # an absent folder is an empty one


class SecretIdIssuer(Protocol):
    """What filling the spool needs of Vault: the rights of the policy `issuer`, no more."""

    def wrapped_secret_id(self, role: str, ttl: timedelta) -> tuple[str, Secret]:
        """Return the role-id and a wrapping token that holds a fresh secret-id."""
        ...


def issue(
    issuer: SecretIdIssuer, role: str, spool: Path, count: int, *, wrap_ttl: timedelta = WRAP_TTL
) -> int:
    """Fill a role's spool up to `count` fresh secret-ids, replacing those that grow old.

    Args:
        issuer: a connection with the policy `issuer`.
        role: the role's name without prefix.
        spool: the folder that holds one folder per role.
        count: how many fresh ones shall lie there.
        wrap_ttl: how long a new one may wait.

    Returns:
        How many were made.

    Raises:
        VaultUnavailable, VaultDenied: Vault did not make one.
    """
    folder = spool / role
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    missing = count - _tidy(folder)
    for _ in range(missing):
        role_id, token = issuer.wrapped_secret_id(role, wrap_ttl)
        _write(folder, role_id, token, wrap_ttl)
    return max(0, missing)


def _tidy(folder: Path) -> int:
    """Drop old files and what claims of dead processes left; return how many are fresh."""
    fresh = 0
    for path in folder.iterdir():
        try:
            entry = _read(path) if path.suffix == _READY else None
            if entry is not None and entry.age() < entry.ttl * _FRESH_PART:
                fresh += 1
            elif path.suffix != _EVIDENCE and _settled(path):
                path.unlink()
        except FileNotFoundError:
            continue  # claimed or spent meanwhile
    return fresh


def _settled(path: Path) -> bool:
    """Tell whether a file is nobody's work under way: a claim lasts seconds."""
    return path.suffix == _READY or time.time() - path.stat().st_ctime > _CLAIM_LASTS


def _write(folder: Path, role_id: str, token: Secret, ttl: timedelta) -> None:
    now = datetime.now(UTC)
    content = {
        "role_id": role_id,
        "wrapped_secret_id": token.expose().decode(),
        "created": now.isoformat(),
        "ttl": ttl.total_seconds(),
    }
    name = f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
    temporary = folder / f"{name}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        if os.geteuid() == 0:  # filled by root for a service user, whose folder it is
            owner = folder.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(json.dumps(content).encode())
    # Renamed whole, so that no reader sees half a file.
    temporary.rename(folder / f"{name}{_READY}")


def _read(path: Path) -> _Entry | None:
    """Return the file's content, or None if it is not to be used."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OPEN_TO_OTHERS:
            return None
        content = file.read(_MAX_FILE)
    try:
        entry = msgspec.json.decode(content, type=_Entry)
    except msgspec.DecodeError:
        return None
    return entry if entry.created.tzinfo is not None else None
