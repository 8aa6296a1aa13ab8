"""What the history of the policy needs from storage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionRow:
    """A version that came into force.

    Attributes:
        number: 1, 2, 3 in the order in which they did.
        version: SHA-256 of the policy file.
        name: of the policy.
        adopted_at: when.
        until: when another did; None for the one in force.
    """

    number: int
    version: str
    name: str
    adopted_at: datetime
    until: datetime | None


class Policies(Protocol):
    """Policy versions that were in force."""

    def adopt(self, version: str, name: str, body: str) -> bool:
        """Keep a version, which is in force from now on; False when it was in force already."""

    def body(self, version: str) -> str | None:
        """The text of a version."""

    def adoptions(
        self, *, version: str | None = None, before: int | None = None, limit: int
    ) -> list[AdoptionRow]:
        """Versions as they came into force, newest first: of one version, and before a number."""

    def bodies(self, *, before: datetime) -> list[str]:
        """The texts of the versions that were in force before an instant, oldest first."""
