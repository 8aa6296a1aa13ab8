"""What the use cases ask of `keys`: sealing, opening and fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from keys.data_keys import DataKey, WrappedKey
from keys.errors import CiphertextRejected
from keys.fingerprint import Fingerprint
from keys.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed document beside its wrapped key (evidence, comments)."""

    envelope: bytes
    wrapped_key: WrappedKey


class DataKeys(Protocol):
    """Single-use data keys, ready wrapped."""

    def take(self, kek: str, count: int) -> list[DataKey]:
        """Hand out `count` fresh data keys of `kek`.

        Raises:
            VaultUnavailable: none could be made.
        """
        ...

    def prepare(self, kek: str, count: int) -> None:
        """Make what a `take` of so many will lack, aside; returns at once."""
        ...

    def discard(self, kek: str | None = None) -> None:
        """Forget what waits in the pool, of one KEK or of all."""
        ...


class Unwrapping(Protocol):
    """Opens wrapped data keys; needs the reveal role (or review, for evidence)."""

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[Secret | CiphertextRejected]:
        """One result for each, in order.

        Raises:
            VaultUnavailable: Vault gave no answer in time; nothing was opened.
        """
        ...


class Fingerprinting(Protocol):
    """Keyed fingerprints, made in Vault."""

    def compute(
        self, items: Sequence[tuple[str, bytes]], *, versions: Mapping[str, int] | None = None
    ) -> list[Fingerprint]:
        """Fingerprint each (class, normalised value) under the newest key version, or a given."""
        ...

    def older(
        self, items: Sequence[tuple[str, bytes]], made: Sequence[Fingerprint]
    ) -> list[list[Fingerprint]]:
        """Each item's fingerprints under the older key versions in force, newest first."""
        ...

    def candidates(self, items: Sequence[tuple[str, bytes]]) -> list[list[Fingerprint]]:
        """Each item's fingerprints under every key version in force, newest first."""
        ...
