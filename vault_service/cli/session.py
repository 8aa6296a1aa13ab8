"""Who calls which service: connection options, credential files, and the client made of them.

A key never stands on a command line, where every process of the machine could read it. It comes
from a file that nobody else may read: a file of its own, or the credentials file of a first run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import msgspec

from vault_service.cli.exits import ExitCode, Failed
from vault_service.client import Client

DEFAULT_URL: Final = "http://127.0.0.1:8443"
DEFAULT_CREDENTIALS: Final = Path("var/credentials.json")
_MAX_FILE: Final = 1024 * 1024
_OPEN_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class _Credential(msgspec.Struct, frozen=True):
    name: str
    roles: list[str]
    key: str

    def __repr__(self) -> str:
        return f"_Credential({self.name!r})"


class _Credentials(msgspec.Struct, frozen=True):
    principals: list[_Credential]
    base_url: str | None = None


@dataclass(slots=True)
class Session:
    """What the options of one invocation say. `roles` are those that its command asks for."""

    url: str | None = None
    key_file: Path | None = None
    name: str | None = None
    credentials: Path | None = None
    ca_file: Path | None = None
    insecure_http: bool = False
    timeout: float = 30.0
    as_json: bool = False
    roles: tuple[str, ...] = field(default=())

    def client(self, *, anonymous: bool = False, retries: int = 3) -> Client:
        """A client for the service and the caller that the options name.

        Raises:
            Failed: the files are missing, open to others, or name nobody fit for the command.
            InsecureAddress: the key would travel in clear.
        """
        known = None if self.key_file is not None else self._known(needed=not anonymous)
        key = None if anonymous else self._key(known)
        base_url = self.url or (known.base_url if known is not None else None) or DEFAULT_URL
        return Client(
            base_url,
            key=key,
            timeout=self.timeout,
            retries=retries,
            ca_file=self.ca_file,
            insecure_http=self.insecure_http,
        )

    def _key(self, known: _Credentials | None) -> str:
        if self.key_file is not None:
            return read_private(self.key_file).decode(errors="replace").strip()
        if known is None:
            raise Failed(
                "nobody is named as the caller",
                code="credential_missing",
                exit_code=ExitCode.USAGE,
                hint="--key-file FILE, or --as NAME with --credentials FILE"
                f" (a first run writes {DEFAULT_CREDENTIALS})",
            )
        return self._choose(known.principals).key

    def _choose(self, principals: Sequence[_Credential]) -> _Credential:
        names = ", ".join(each.name for each in principals) or "nobody"
        if self.name is not None:
            for each in principals:
                if each.name == self.name:
                    return each
            raise Failed(
                "the credentials file names no such principal",
                code="credential_missing",
                exit_code=ExitCode.USAGE,
                hint=f"it names {names}",
            )
        fit = [each for each in principals if set(each.roles) & set(self.roles)]
        # Among several roles that may, the first named is the one that the command is made for.
        for role in self.roles:
            best = [each for each in fit if role in each.roles]
            if len(best) == 1:
                return best[0]
            if best:
                names = ", ".join(each.name for each in best)
                break
        raise Failed(
            "it is not clear who calls",
            code="credential_ambiguous",
            exit_code=ExitCode.USAGE,
            hint=f"choose with --as NAME: {names}",
        )

    def _known(self, *, needed: bool) -> _Credentials | None:
        path = self.credentials
        if path is None:
            if not DEFAULT_CREDENTIALS.exists():
                return None
            path = DEFAULT_CREDENTIALS
        try:
            return msgspec.json.decode(read_private(path), type=_Credentials)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Failed(
                f"{path} is not a credentials file",
                code="credentials_malformed",
                exit_code=ExitCode.USAGE,
                hint='it holds {"base_url": "…", "principals": [{"name", "roles", "key"}]}',
            ) from None
        except Failed:
            if needed or self.credentials is not None:
                raise
            return None


def read_private(path: Path) -> bytes:
    """The content of a file with a secret, if nobody else may read it.

    Raises:
        Failed: it cannot be read, is too large, or is open to others.
    """
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise Failed(
            f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}",
            code="key_file_unreadable",
            exit_code=ExitCode.USAGE,
        ) from error
    if stat.S_ISREG(mode) and mode & _OPEN_TO_OTHERS:
        raise Failed(
            f"{path} holds keys and is open to others",
            code="key_file_open",
            exit_code=ExitCode.USAGE,
            hint=f"chmod 600 {path}",
        )
    if not content.strip() or len(content) > _MAX_FILE:
        raise Failed(
            f"{path} is empty or too large to hold a key",
            code="key_file_malformed",
            exit_code=ExitCode.USAGE,
        )
    return content


def session() -> Session:
    """The session of the command that runs."""
    context = click.get_current_context()
    return context.ensure_object(Session)


def write_private(path: Path, content: str) -> None:
    """Write a text that only its owner may read; an existing file is left alone.

    Raises:
        Failed: there is such a file, or it cannot be written.
    """
    write_private_bytes(path, content.encode())


def write_private_bytes(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; an existing file is left alone.

    Raises:
        Failed: there is such a file, or it cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failed(
            f"{path} cannot be made: {(error.strerror or 'unknown reason').lower()}",
            code="file_error",
            hint="choose a name that is free",
        ) from error
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
