"""What the history of the policy needs from storage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
