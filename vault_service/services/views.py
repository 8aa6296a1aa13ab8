"""What the use cases answer. Plain values, without a secret except in what is revealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from vault_service.domain.instruments import Instrument
from vault_service.errors import ServiceError
from vault_service.services.record_ports import MaskedRecord


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A record as everybody with a role may see it: masked."""

    id: str
    data_class: str
    customer: str
    mask: Mapping[str, object]
    format: str
    version: int
    deduplicated: bool
    created_at: datetime
    expires_at: datetime | None
    reference: str | None
    metadata: Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeAnswer:
    """One result for each item, in order; `replayed` when an Idempotency-Key gave them."""

    results: tuple[TokenView | ServiceError, ...]
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPage:
    """Masked records and the cursor of the next page, if there is one."""

    items: tuple[TokenView, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerView:
    """A customer; `created` is False when the reference was known."""

    id: str
    created_at: datetime
    created: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerProfile:
    """A customer with masked records by class; those of linked customers stand with his own."""

    id: str
    created_at: datetime
    linked: tuple[str, ...]
    tokens: Mapping[str, tuple[TokenView, ...]]
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """An API key without its secret."""

    id: str
    state: str
    created_by: str
    confirmed_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalView:
    """A principal with its keys."""

    id: str
    name: str
    roles: tuple[str, ...]
    state: str
    created_at: datetime
    keys: tuple[KeyView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new API key. `key` is shown this once."""

    principal: PrincipalView
    id: str
    state: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """An officer's decision. `comment` only where the reader may see it."""

    kind: str
    principal: str
    at: datetime
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureView:
    """A disclosure request or grant. Evidence and names only for requester and officers."""

    id: str
    state: str
    requester: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    recipient_name: str | None
    recipient: str | None
    recipient_key: str | None
    delivery: str
    proof_of_possession: bool = False
    evidence: Mapping[str, object] | None
    tokens: tuple[str, ...] | None
    customer: str | None
    classes: tuple[str, ...] | None
    fields: tuple[str, ...] | None
    uses: int
    uses_left: int
    approvals_needed: int
    determination_needed: bool
    created_at: datetime
    submitted_at: datetime | None
    activated_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    decisions: tuple[DecisionView, ...]
    amends: str | None = None
    instrument: Instrument | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosurePage:
    """Disclosures and the cursor of the next page, if there is one."""

    items: tuple[DisclosureView, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedDisclosureToken:
    """A signed disclosure token, to be shown once to reveal.

    `nonce` is for the next proof of possession, where one was shown.
    """

    expires_at: datetime
    token: str = field(repr=False)
    nonce: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """A plaintext value. The one view that holds one."""

    id: str
    data_class: str
    value: object = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What proves a reveal later: its ledger entry."""

    entry: str
    grant: str
    ground: str
    clause: str
    at: datetime
    values: int
    recipient: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealAnswer:
    """One result for each token asked for, in order, and the receipt; or a package of both.

    `nonce` is for the next proof of possession, where one was shown.
    """

    results: tuple[Revealed | ServiceError, ...] = field(repr=False)
    receipt: Receipt
    package: str | None = field(default=None, repr=False)
    nonce: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModificationView:
    """A customer's change: masks of the record's value and of the proposed one, never a value."""

    id: str
    state: str
    customer: str
    token: str | None
    data_class: str | None
    version: int | None
    present: Mapping[str, object] | None
    proposed: Mapping[str, object] | None
    source: str
    ticket: str
    unassigned: str | None
    second_person: bool
    opened_by: str
    proposed_by: str | None
    confirmed_by: str | None
    confirmed_how: str | None
    ended_by: str | None
    reason: str | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    created: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnassignedView:
    """A message that waits for its customer, by its outside, and the change that waits for it."""

    modification: str
    why: str
    received_at: datetime
    expires_at: datetime
    message: TokenView


@dataclass(frozen=True, slots=True, kw_only=True)
class UnassignedPage:
    """Messages that wait, and the cursor of the next page, if there is one."""

    items: tuple[UnassignedView, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModificationPage:
    """Changes and the cursor of the next page, if there is one."""

    items: tuple[ModificationView, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """One version of a record, masked; the newest has no end."""

    version: int
    mask: Mapping[str, object]
    since: datetime
    until: datetime | None
    modification: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealedContent:
    """The contents of one communication on their way, and the receipt.

    Attributes:
        size: how many bytes come; fewer mean that it was broken off.
        pieces: authentic pieces.
        receipt: of the use that was spent for it.
        nonce: for the next proof of possession, where one was shown.
    """

    size: int
    pieces: Iterator[bytes] = field(repr=False)
    receipt: Receipt
    nonce: str | None = None


def stored_view(record: MaskedRecord) -> TokenView:
    """A stored record as it is answered."""
    return token_view(record, deduplicated=False, reference=record.reference)


def token_view(record: MaskedRecord, *, deduplicated: bool, reference: str | None) -> TokenView:
    """A record as it is answered to who has just sent its value, under his own reference."""
    return TokenView(
        id=record.token,
        data_class=record.data_class,
        customer=record.customer,
        mask=record.mask,
        format=record.format,
        version=record.version,
        deduplicated=deduplicated,
        created_at=record.created_at,
        expires_at=record.expires_at,
        reference=reference,
        metadata=record.metadata,
    )
