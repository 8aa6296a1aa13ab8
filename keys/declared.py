"""The declared keys, roles and policies, read from `inventory.toml` and `policies/*.hcl`.

The policies are templates over the mount, the AppRole mount and the prefix, with every path
written out: a policy that matches by pattern grants what nobody has declared.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import msgspec

from keys.errors import InventoryInvalid
from keys.operations import checked_key, checked_mount


class Purpose(StrEnum):
    """What a key is for; no key has two."""

    KEK = "kek"
    FINGERPRINT = "fingerprint"
    SIGNING = "signing"


TYPES: Mapping[Purpose, str] = {
    Purpose.KEK: "aes256-gcm96",
    Purpose.FINGERPRINT: "hmac",
    Purpose.SIGNING: "ed25519",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """A declared key. `rotate_after_wraps` is None where uses are not counted."""

    name: str
    type: str
    purpose: Purpose
    rotate_after: timedelta
    rotate_after_wraps: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All that is declared. `policies` maps full policy names to their text."""

    mount: str
    approle_mount: str
    prefix: str
    keys: tuple[KeySpec, ...]
    roles: tuple[str, ...]
    policies: Mapping[str, str]
    role_settings: Mapping[str, int | bool]

    @property
    def keks(self) -> tuple[str, ...]:
        """The names of the key-encryption keys."""
        return tuple(key.name for key in self.keys if key.purpose is Purpose.KEK)

    def approle(self, role: str) -> dict[str, Any]:
        """Return what Vault should hold for a role's AppRole."""
        return {"token_policies": [self.prefix + role], **self.role_settings}


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    purpose: Purpose
    rotate_after_days: int
    rotate_after_wraps: int | None = None


class _Empty(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Token(msgspec.Struct, forbid_unknown_fields=True):
    ttl_seconds: int
    max_ttl_seconds: int


class _SecretId(msgspec.Struct, forbid_unknown_fields=True):
    num_uses: int
    ttl_seconds: int


class _File(msgspec.Struct, forbid_unknown_fields=True):
    mount: str
    approle_mount: str
    prefix: str
    keys: dict[str, _Key]
    roles: dict[str, _Empty]
    policies: dict[str, _Empty]
    token: _Token
    secret_id: _SecretId


def load(
    path: Path | None = None, *, mount: str | None = None, prefix: str | None = None
) -> Inventory:
    """Return the declared inventory.

    Args:
        path: another file than the one that ships with this package.
        mount: where Transit is mounted, instead of what the file says.
        prefix: of AppRole and policy names, instead of what the file says.

    Raises:
        InventoryInvalid: the file cannot be read or contradicts itself.
    """
    try:
        source = path or resources.files("keys").joinpath("inventory.toml")
        file = msgspec.convert(tomllib.loads(source.read_text("utf-8")), _File)
        mount = checked_mount(mount or file.mount)
        prefix = file.prefix if prefix is None else prefix
        keys = tuple(_spec(checked_key(name), key) for name, key in file.keys.items())
        places = {"mount": mount, "prefix": prefix, "approle": checked_mount(file.approle_mount)}
        policies = {prefix + name: _policy(name, places) for name in (*file.roles, *file.policies)}
    except (OSError, ValueError, KeyError) as error:
        raise InventoryInvalid(f"the key inventory is not usable: {error}") from error
    if file.secret_id.num_uses != 1:
        raise InventoryInvalid("secret-ids are single-use")
    return Inventory(
        mount=mount,
        approle_mount=file.approle_mount,
        prefix=prefix,
        keys=keys,
        roles=tuple(file.roles),
        policies=policies,
        role_settings={
            "bind_secret_id": True,
            "secret_id_num_uses": file.secret_id.num_uses,
            "secret_id_ttl": file.secret_id.ttl_seconds,
            "token_ttl": file.token.ttl_seconds,
            "token_max_ttl": file.token.max_ttl_seconds,
            "token_no_default_policy": True,
        },
    )


def _spec(name: str, key: _Key) -> KeySpec:
    if key.type != TYPES[key.purpose]:
        raise ValueError(f"key {name} has a type that does not fit its purpose")
    return KeySpec(
        name=name,
        type=key.type,
        purpose=key.purpose,
        rotate_after=timedelta(days=key.rotate_after_days),
        rotate_after_wraps=key.rotate_after_wraps,
    )


def _policy(name: str, places: Mapping[str, str]) -> str:
    source = resources.files("keys").joinpath("policies", f"{checked_key(name)}.hcl")
    return Template(source.read_text("utf-8")).substitute(places)
