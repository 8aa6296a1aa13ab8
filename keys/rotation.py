"""Rotation of a key-encryption key: its steps as primitives, over a small port.

    begin -> rewrap_batch … -> (the caller verifies that none is left) -> retire -> trim later

`begin` makes the new version and forbids the old one to wrap; the caller then empties its
pools. `retire` makes Vault refuse the old version altogether. Each step can be repeated after
a crash. This module walks no table: who holds the wrapped keys feeds them in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from keys.data_keys import WrappedKey
from keys.errors import CiphertextRejected, VaultRefused
from keys.operations import KeyInfo


class Rotator(Protocol):
    """What a rotation needs of Vault: the rights of the role `rotate`."""

    def read_key(self, key: str) -> KeyInfo:
        """Return a key's settings."""
        ...

    def rotate(self, key: str) -> None:
        """Add a new version."""
        ...

    def configure(
        self,
        key: str,
        *,
        min_encryption_version: int | None = None,
        min_decryption_version: int | None = None,
    ) -> None:
        """Set the version limits."""
        ...

    def rewrap(self, key: str, ciphertexts: Sequence[str]) -> list[str | CiphertextRejected]:
        """Bring ciphertexts to the newest version."""
        ...

    def trim(self, key: str, min_available_version: int) -> None:
        """Delete the versions below."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A rotation that has begun; `resumed` where an earlier try had already rotated."""

    key: str
    from_version: int
    to_version: int
    resumed: bool


def begin(port: Rotator, key: str, *, known: int | None = None) -> Begun:
    """Make a new version of `key` and forbid all older ones to wrap.

    If an earlier try died between the two steps, only the second is done. A caller that kept the
    newest version before its first try gives it as `known`, and a try that died after both steps
    is recognised too.

    Raises:
        VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: call again to go on.
    """
    before = port.read_key(key)
    in_force = max(1, before.min_encryption_version) if known is None else known
    resumed = before.latest_version > in_force
    if not resumed:
        port.rotate(key)
    newest = port.read_key(key).latest_version
    port.configure(key, min_encryption_version=newest)
    return Begun(key=key, from_version=in_force, to_version=newest, resumed=resumed)


def renew(port: Rotator, key: str, *, known: int) -> Begun:
    """Make a new version of `key` and leave the older ones in force, to be looked up under.

    For a fingerprint key, whose older versions compute until everything is indexed under the new
    one. Where a version newer than `known` is there already, no other is made.

    Raises:
        VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: call again to go on.
    """
    resumed = port.read_key(key).latest_version > known
    if not resumed:
        port.rotate(key)
    newest = port.read_key(key).latest_version
    return Begun(key=key, from_version=known, to_version=newest, resumed=resumed)


def outdate(port: Rotator, key: str, version: int) -> None:
    """Have Vault compute nothing under any version below `version`; a limit is never lowered.

    Raises:
        VaultRefused: the version does not exist.
        VaultUnavailable, VaultDenied, KeyNotReady: call again to go on.
    """
    if port.read_key(key).min_encryption_version < version:
        port.configure(key, min_encryption_version=version)
    retire(port, key, version)


def rewrap_batch(
    port: Rotator, wrapped: Sequence[WrappedKey]
) -> list[WrappedKey | CiphertextRejected]:
    """Return each wrapped key under the newest version of its KEK, or the refusal in its place.

    Args:
        port: Vault.
        wrapped: keys under one KEK; each request has 200 of them at most.

    Raises:
        ValueError: keys of several KEKs.
        VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: nothing was rewrapped.
    """
    if len({key.kek for key in wrapped}) > 1:
        raise ValueError("the keys of a rewrap batch are under one kek")
    if not wrapped:
        return []
    kek = wrapped[0].kek
    results = port.rewrap(kek, [key.ciphertext for key in wrapped])
    return [
        text if isinstance(text, CiphertextRejected) else WrappedKey.parse(kek, text)
        for text in results
    ]


def retire(port: Rotator, key: str, version: int) -> None:
    """Have Vault refuse every version below `version`; a limit is never lowered.

    Raises:
        VaultRefused: the version does not exist, or older ones may still wrap.
        VaultUnavailable, VaultDenied, KeyNotReady: nothing was set.
    """
    info = port.read_key(key)
    if not info.min_decryption_version <= version <= info.latest_version:
        raise VaultRefused("no such version to retire to")
    if info.min_encryption_version < version:
        raise VaultRefused("older versions may still wrap: begin the rotation first")
    port.configure(key, min_decryption_version=version)


def trim(port: Rotator, key: str, version: int) -> None:
    """Delete every version below `version` for ever, once they are retired.

    Raises:
        VaultRefused: older versions are still in force.
        VaultUnavailable, VaultDenied, KeyNotReady: nothing was deleted.
    """
    if port.read_key(key).min_decryption_version < version:
        raise VaultRefused("older versions are still in force: retire them first")
    port.trim(key, version)
