"""Requests, grants and their tokens as stored, and what the use cases need of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from vault_service.services.crypto_ports import Sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a request asks for, and what its ground demands of it."""

    bucket: int
    id: str
    state: str
    requester: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    tokens: tuple[str, ...] | None
    customer: str | None
    classes: tuple[str, ...] | None
    fields: tuple[str, ...] | None
    uses: int
    duration: timedelta
    approvals_needed: int
    determination_needed: bool
    details: Sealed
    recipient: str | None = None
    recipient_key: str | None = None
    delivery: str = "holder"
    amends: str | None = None
    proof_of_possession: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDisclosure(_Asked):
    """A disclosure request on its way into the table."""

    details_salt: bytes
    notice_rule: str = "unknown"
    notice_after: datetime | None = None
    scope_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureRow(_Asked):
    """A disclosure request or grant as stored. `now` is the database's clock at the reading."""

    details_salt: bytes | None
    uses_left: int
    created_at: datetime
    submitted_at: datetime | None
    activated_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One officer's decision on a request."""

    kind: str
    principal: str
    at: datetime
    comment: Sealed | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A disclosure token that was signed, on its way into the database."""

    bucket: int
    jti: str
    disclosure: str
    holder: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UseClaim:
    """A disclosure token about to be used, with the entry that will tell of it."""

    bucket: int
    jti: str
    disclosure: str
    holder: str
    policy: str
    entry: UUID


class Disclosures(Protocol):
    """Disclosure requests, decisions and issued tokens."""

    def insert(self, row: NewDisclosure) -> DisclosureRow:
        """Insert a request."""
        ...

    def get(self, bucket: int, disclosure: str, *, lock: bool = False) -> DisclosureRow | None:
        """One request, locked for the rest of the unit of work when asked."""
        ...

    def page(
        self, *, requester: str | None, state: str | None, after: str | None, limit: int
    ) -> list[DisclosureRow]:
        """Requests, newest id order is not promised; ordered by id, after an id."""
        ...

    def set_state(
        self, bucket: int, disclosure: str, state: str, *, lasts: timedelta | None = None
    ) -> DisclosureRow:
        """Move to a state; stamps submitted_at, activated_at and expires_at, or ended_at.

        `lasts` is how long a grant that becomes active lasts; without it, the row's duration.
        """
        ...

    def decide(
        self,
        bucket: int,
        disclosure: str,
        *,
        kind: str,
        principal: str,
        requester: str,
        comment: Sealed | None,
    ) -> bool:
        """Insert a decision; False when this principal already decided so."""
        ...

    def decisions(self, bucket: int, disclosure: str) -> list[DecisionRow]:
        """Decisions on one request, oldest first."""
        ...

    def deciders(self, names: Sequence[tuple[int, str]]) -> dict[str, dict[str, frozenset[str]]]:
        """Who decided on requests, by request and kind; for the role that gives out tokens."""
        ...

    def insert_tokens(self, tokens: Sequence[NewToken]) -> None:
        """Register issued disclosure tokens."""
        ...

    def grants(self, names: Sequence[tuple[int, str]]) -> dict[str, DisclosureRow]:
        """Requests by (bucket, id), unlocked."""
        ...

    def ask_grants(
        self, names: Sequence[tuple[int, str]]
    ) -> Callable[[], dict[str, DisclosureRow]]:
        """As `grants`; travels with what is asked next, or when what this returns is called."""
        ...

    def use(self, claims: Sequence[UseClaim]) -> dict[str, DisclosureRow]:
        """Consume one use of each claim's token and grant, or neither; by jti what succeeded.

        One conditional statement: the token unused, unexpired, of this holder and grant; the
        grant active, unexpired, of the claimed policy and with a use left. Claims on one grant
        count down, in the order of their entries. Each token may stand once in a call.
        """
        ...

    def expire_due(self, limit: int) -> list[DisclosureRow]:
        """Move active grants past their end to expired; the rows, without their evidence."""
        ...
