"""Principals and API keys as stored, and what the use cases need of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalRow:
    """A principal as stored."""

    id: str
    name: str
    roles: tuple[str, ...]
    state: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRow:
    """An API key as stored; never its secret."""

    id: str
    principal: str
    state: str
    created_by: str
    confirmed_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What authentication compares with: one row for one key id."""

    key_id: str
    secret_hash: bytes
    key_state: str
    expired: bool
    stale_use: bool
    principal: str
    name: str
    roles: tuple[str, ...]
    principal_state: str
    review_overdue: bool = False


class Principals(Protocol):
    """Principals and their API keys."""

    def credentials(self, key_ids: Sequence[str]) -> dict[str, Credential]:
        """Credentials by key id."""
        ...

    def touch(self, key_ids: Sequence[str]) -> None:
        """Record that the keys were used now."""
        ...

    def insert(self, row: PrincipalRow) -> bool:
        """Insert a principal; False when the name is taken."""
        ...

    def get(self, principal: str, *, lock: bool = False) -> PrincipalRow | None:
        """One principal, locked for the rest of the unit of work when asked."""
        ...

    def by_name(self, name: str) -> PrincipalRow | None:
        """One principal by its name."""
        ...

    def page(self, after: str | None, limit: int) -> list[PrincipalRow]:
        """Principals ordered by id."""
        ...

    def set_state(self, principal: str, state: str) -> bool:
        """Enable or disable a principal; False when there is none."""
        ...

    def set_roles(self, principal: str, roles: Sequence[str]) -> bool:
        """Replace a principal's roles; False when there is none."""
        ...

    def insert_key(
        self,
        *,
        key_id: str,
        principal: str,
        secret_hash: bytes,
        state: str,
        created_by: str,
        expires_at: datetime | None,
    ) -> ApiKeyRow:
        """Insert an API key."""
        ...

    def keys(self, principals: Sequence[str]) -> list[ApiKeyRow]:
        """All keys of some principals, oldest first."""
        ...

    def get_key(self, key_id: str) -> ApiKeyRow | None:
        """One key, locked for the rest of the unit of work."""
        ...

    def revoke_key(self, key_id: str) -> bool:
        """Revoke; False when it was not live."""
        ...

    def confirm_key(self, key_id: str, by: str) -> bool:
        """Turn a pending key active; False when it was not pending."""
        ...
