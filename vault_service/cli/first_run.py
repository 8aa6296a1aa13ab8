"""What a first run needs from the use cases: its principals and their credentials file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from vault_service.errors import Conflict, NotFound
from vault_service.services.principals import Principals
from vault_service.services.views import IssuedKey

# One principal for each role, and two officers, because two must agree.
PEOPLE: Final = (
    ("billing", ("billing",)),
    ("support", ("support",)),
    ("requester", ("requester",)),
    ("officer-1", ("officer",)),
    ("officer-2", ("officer",)),
    ("auditor", ("auditor",)),
    ("operator", ("operator",)),
)


def ensure_principals(principals: Principals, file: Path, base_url: str) -> Mapping[str, Any]:
    """Make the first principals if the vault is empty, and keep their keys in `file` (0600).

    Args:
        principals: the use case, with the console's database role.
        file: `credentials.json`; its `base_url` is brought up to date at every start.
        base_url: where the service answers.

    Returns:
        What the file holds: `{"base_url", "principals": [{"name", "roles", "key"}]}`.

    Raises:
        NotFound: there are principals, and the file with their keys is gone.
    """

    def keep(issued: Sequence[IssuedKey]) -> None:
        _write(file, base_url, _people(issued))

    # An interrupted first start leaves either no principals, or principals whose keys are kept.
    if not principals.bootstrap(PEOPLE, keep):
        known = _read(file)
        if not known.get("principals"):
            raise NotFound(
                "the vault has principals, and the file with their keys is gone",
                code="credentials_missing",
                hint=f"restore {file.name} in the state folder, or start over with --fresh",
            )
        if known.get("base_url") != base_url:
            _write(file, base_url, known["principals"])
    return _read(file)


def make_first(principals: Principals, file: Path, base_url: str) -> list[IssuedKey]:
    """Make the first principals of an empty vault, for whoever runs it for real.

    Args:
        principals: the use case, with the console's database role.
        file: a new credentials file; written before the keys count.
        base_url: where the service will answer.

    Raises:
        Conflict: there are principals already.
    """
    issued = principals.bootstrap(PEOPLE, lambda made: _write(file, base_url, _people(made)))
    if not issued:
        raise Conflict(
            "the vault has principals already",
            code="principals_exist",
            hint="an operator makes others: vault-service principals create",
        )
    return issued


def _people(issued: Sequence[IssuedKey]) -> list[dict[str, Any]]:
    return [
        {"name": each.principal.name, "roles": list(each.principal.roles), "key": each.key}
        for each in issued
    ]


def _read(file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}


def _write(file: Path, base_url: str, people: list[dict[str, Any]]) -> None:
    """Replace the file whole, so that a start that dies here leaves the old one."""
    content = msgspec.json.encode({"base_url": base_url, "principals": people})
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(msgspec.json.format(content, indent=2) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
