"""Vault's keys as the use cases see them, over the Vault roles that may do so much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keys import rotation
from keys.data_keys import WrappedKey
from keys.errors import CiphertextRejected
from keys.operations import KeyInfo
from keys.rotation import Begun
from keys.transit import Transit
from vault_service.domain.classes import RULES
from vault_service.services.documents import KEK as EVIDENCE_KEK
from vault_service.services.sequencing import KEY_NAME as LEDGER_KEY
from vault_service.services.token_keys import KEY_NAME

SIGNING_KEYS: Final = frozenset((KEY_NAME, LEDGER_KEY))


def keks() -> frozenset[str]:
    """The key-encryption keys under which something lies in the database."""
    return frozenset({rule.kek for rule in RULES.values()} | {EVIDENCE_KEK})


@dataclass(frozen=True, slots=True)
class Reader:
    """`rotation_ports.KeyReader` over any role that may read keys."""

    transit: Transit

    def read(self, key: str) -> KeyInfo:
        """A key's versions and limits."""
        return self.transit.read_key(key)


@dataclass(frozen=True, slots=True)
class Rotator(Reader):
    """`rotation_ports.KeyRotator` over Vault's role `rotate`."""

    def begin(self, key: str, *, known: int | None = None) -> Begun:
        """Make a new version, unless one is newer than `known`; forbid the older to wrap."""
        return rotation.begin(self.transit, key, known=known)

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> list[WrappedKey | CiphertextRejected]:
        """Bring keys of one KEK to its newest version."""
        return rotation.rewrap_batch(self.transit, wrapped)

    def retire(self, key: str, version: int) -> None:
        """Have Vault refuse every version below."""
        rotation.retire(self.transit, key, version)

    def trim(self, key: str, version: int) -> None:
        """Have Vault delete every version below."""
        rotation.trim(self.transit, key, version)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One of Vault's signing keys, as `Signer`, `PublicKeys` and `LogSigner`."""

    transit: Transit
    name: str = KEY_NAME

    def sign(self, message: bytes) -> tuple[int, bytes]:
        """The key's version and its signature."""
        return self.transit.sign(self.name, message)

    def sign_many(self, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """For each message the version that signed, and its signature."""
        return self.transit.sign_many(self.name, messages)

    def public_keys(self) -> dict[int, bytes]:
        """Raw public keys by version."""
        return self.transit.public_keys(self.name)


@dataclass(frozen=True, slots=True)
class IndexKeys(Reader):
    """`reindex_ports.IndexKeys` over Vault's role `rotate`."""

    def renew(self, key: str, *, known: int) -> Begun:
        """Make a new version, unless one is newer than `known`; keep the older."""
        return rotation.renew(self.transit, key, known=known)

    def outdate(self, key: str, version: int) -> None:
        """Have Vault compute nothing under any version below."""
        rotation.outdate(self.transit, key, version)
