"""The repository of recipients, as the use cases see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vault_service.services.crypto_ports import Sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecipient:
    """A recipient on its way into the table; name, verification and contact stand in `details`."""

    id: str
    kind: str
    created_by: str
    public_key: str | None
    thumbprint: str | None
    details: Sealed
    details_salt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRow:
    """A recipient as stored."""

    id: str
    kind: str
    created_by: str
    created_at: datetime
    public_key: str | None
    thumbprint: str | None
    details: Sealed


class Recipients(Protocol):
    """Recipients. They never change: another key or contact is another recipient."""

    def insert(self, row: NewRecipient) -> RecipientRow:
        """Insert a recipient."""
        ...

    def get(self, recipient: str) -> RecipientRow | None:
        """One recipient."""
        ...

    def page(self, *, after: str | None, limit: int) -> list[RecipientRow]:
        """Recipients in the order of their ids, after an id."""
        ...

    def public_keys(self, recipients: Sequence[str]) -> dict[str, str]:
        """The public keys of recipients that have one, as stored; for the role that seals."""
        ...
