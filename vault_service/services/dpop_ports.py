"""The repository of nonces and of proofs that were used, as the use cases see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedProof:
    """A proof that is about to be used.

    Attributes:
        bucket: of the grant that it is used for.
        digest: SHA-256 of the key's thumbprint and the proof's `jti`.
        until: from when on no proof of this age is taken, so that the row may go.
    """

    bucket: int
    digest: bytes
    until: datetime


class Proofs(Protocol):
    """Nonces and used proofs."""

    def nonces(self, offered: str) -> list[str]:
        """The nonces that are taken now, the newest first.

        Args:
            offered: what becomes the newest where there is none for this time yet.
        """
        ...

    def spend(self, proofs: Sequence[UsedProof]) -> set[bytes]:
        """Remember proofs; the digests of those that were not used before.

        Waits for a rival that uses the same proof, in a fixed order.
        """
        ...

    def purge(self, limit: int) -> int:
        """Forget nonces that are not taken any more, and proofs that are too old; how many."""
        ...
