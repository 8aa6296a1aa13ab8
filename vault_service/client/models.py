"""What the service answers, typed. Members that a newer service adds are passed over.

Objects that hold a key, a token or plaintext show nothing of it in their representation.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the service answered."""


class _Hidden(Answer, frozen=True, kw_only=True):
    """An answer that does not show itself."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"


class ItemError(Answer, frozen=True, kw_only=True):
    """Why one item of a batch has no result."""

    status: int
    code: str
    detail: str
    pointer: str | None = None
    hint: str | None = None


class Token(Answer, frozen=True, kw_only=True, rename={"data_class": "class"}):
    """A token and what may be shown of its value."""

    id: str
    data_class: str
    customer: str
    mask: dict[str, Any]
    format: str
    version: int
    deduplicated: bool
    created_at: datetime
    expires_at: datetime | None = None
    reference: str | None = None
    metadata: dict[str, str] | None = None


class TokenResult(Answer, frozen=True, kw_only=True):
    """One item's outcome: either a token or an error."""

    token: Token | None = None
    error: ItemError | None = None
    reference: str | None = None


class TokenResults(Answer, frozen=True, kw_only=True):
    """One result for each item, in order."""

    results: list[TokenResult]


class TokenPage(Answer, frozen=True, kw_only=True):
    """Tokens and the cursor of the next page."""

    items: list[Token]
    next: str | None = None


class SearchResult(Answer, frozen=True, kw_only=True):
    """What was found for one value, or why it could not be looked for."""

    tokens: list[Token] | None = None
    error: ItemError | None = None


class SearchResults(Answer, frozen=True, kw_only=True):
    """One result for each value, in order."""

    results: list[SearchResult]


class Customer(Answer, frozen=True, kw_only=True):
    """A customer."""

    id: str
    created_at: datetime


class CustomerResult(Answer, frozen=True, kw_only=True):
    """One item's outcome: a customer, or why there is none."""

    customer: Customer | None = None
    created: bool | None = None
    error: ItemError | None = None


class CustomerResults(Answer, frozen=True, kw_only=True):
    """One result for each item, in order."""

    results: list[CustomerResult]


class Profile(Answer, frozen=True, kw_only=True):
    """A customer with masked records by class; `truncated` when there are more."""

    id: str
    created_at: datetime
    tokens: dict[str, list[Token]]
    linked: list[str] = []
    truncated: bool = False


class Version(Answer, frozen=True, kw_only=True):
    """One version of a record, masked."""

    version: int
    mask: dict[str, Any]
    since: datetime
    until: datetime | None = None
    modification: str | None = None


class Versions(Answer, frozen=True, kw_only=True):
    """A record's versions, newest first."""

    items: list[Version]


class CustomerMatch(Answer, frozen=True, kw_only=True):
    """A customer and the records by which he was found, masked."""

    id: str
    tokens: list[Token]


class CustomerMatches(Answer, frozen=True, kw_only=True):
    """Who was found by one reference or value."""

    customers: list[CustomerMatch] | None = None
    error: ItemError | None = None


class CustomersFound(Answer, frozen=True, kw_only=True):
    """One result for each reference or value, in order."""

    results: list[CustomerMatches]


class Link(Answer, frozen=True, kw_only=True):
    """Two customers who are shown together."""

    customer: str
    other: str


class Recipient(Answer, frozen=True, kw_only=True):
    """Who receives the data."""

    kind: str
    name: str | None = None
    id: str | None = None
    thumbprint: str | None = None


class Decision(Answer, frozen=True, kw_only=True):
    """What an officer decided."""

    kind: str
    principal: str
    at: datetime
    comment: str | None = None


class Instrument(Answer, frozen=True, kw_only=True):
    """What the officer who determined said of the instrument."""

    tokens: list[str] | None = None
    customer: str | None = None
    classes: list[str] = []
    begins: date | None = None
    ends: date | None = None


class Disclosure(Answer, frozen=True, kw_only=True):
    """A disclosure request or grant."""

    id: str
    state: str
    requester: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient: Recipient
    uses: int
    uses_left: int
    approvals_needed: int
    determination_needed: bool
    created_at: datetime
    decisions: list[Decision]
    delivery: str = "holder"
    proof_of_possession: bool = False
    evidence: dict[str, Any] | None = None
    tokens: list[str] | None = None
    customer: str | None = None
    classes: list[str] | None = None
    fields: list[str] | None = None
    submitted_at: datetime | None = None
    activated_at: datetime | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    amends: str | None = None
    instrument: Instrument | None = None


class DisclosurePage(Answer, frozen=True, kw_only=True):
    """Disclosures and the cursor of the next page."""

    items: list[Disclosure]
    next: str | None = None


class Missing(Answer, frozen=True, kw_only=True):
    """One thing that the policy misses in a request."""

    code: str
    pointer: str
    detail: str
    clause: str | None = None
    stage: str = "request"


class Explanation(Answer, frozen=True, kw_only=True):
    """Whether the policy would allow a request, by which clause, or each reason why not."""

    allowed: bool
    clause: str | None
    missing: list[Missing]


class DisclosureToken(_Hidden, frozen=True, kw_only=True):
    """A disclosure token, to be shown once to reveal."""

    token: str
    expires_at: datetime


class Revealed(_Hidden, frozen=True, kw_only=True, rename={"data_class": "class"}):
    """One plaintext value, or why there is none."""

    id: str
    data_class: str | None = None
    value: Any = None
    error: ItemError | None = None


class Receipt(Answer, frozen=True, kw_only=True):
    """What proves a reveal later."""

    entry: str
    grant: str
    ground: str
    clause: str
    at: datetime
    values: int
    recipient: str | None = None


class RevealAnswer(Answer, frozen=True, kw_only=True):
    """One result for each token, in order, and the receipt; or a package for the recipient."""

    receipt: Receipt
    results: list[Revealed] = []
    package: str | None = None


class Content(_Hidden, frozen=True, kw_only=True):
    """The contents of one communication, whole, and the receipt."""

    content: bytes
    receipt: Receipt


class Document(Answer, frozen=True, kw_only=True):
    """A document that was taken; a request names its digest as evidence."""

    id: str
    digest: str
    media_type: str
    size: int
    created_at: datetime


class DocumentContent(_Hidden, frozen=True, kw_only=True):
    """A document that a request shows."""

    content: bytes
    media_type: str
    digest: str


class ShownEvidence(_Hidden, frozen=True, kw_only=True):
    """What a request shows as evidence."""

    disclosure: str
    ground: str
    clause: str
    evidence: dict[str, str]


class Access(Answer, frozen=True, kw_only=True):
    """An auditor's access to the evidence of one request."""

    disclosure: str
    auditor: str
    officer: str
    granted_at: datetime
    expires_at: datetime


class RecipientRecord(Answer, frozen=True, kw_only=True):
    """A recipient on record; the texts stand only where one was asked for."""

    id: str
    kind: str
    created_by: str
    created_at: datetime
    thumbprint: str | None = None
    public_key: dict[str, str] | None = None
    name: str | None = None
    verified: str | None = None
    contact: str | None = None


class RecipientPage(Answer, frozen=True, kw_only=True):
    """Recipients and the cursor of the next page."""

    items: list[RecipientRecord]
    next: str | None = None


class Key(Answer, frozen=True, kw_only=True):
    """An API key without its secret."""

    id: str
    state: str
    created_by: str
    created_at: datetime
    confirmed_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class Principal(Answer, frozen=True, kw_only=True):
    """A principal with its keys."""

    id: str
    name: str
    roles: list[str]
    state: str
    created_at: datetime
    keys: list[Key]


class PrincipalPage(Answer, frozen=True, kw_only=True):
    """Principals and the cursor of the next page."""

    items: list[Principal]
    next: str | None = None


class IssuedKey(_Hidden, frozen=True, kw_only=True):
    """A new API key; `key` is shown this once."""

    id: str
    state: str
    key: str
    principal: Principal


class Check(Answer, frozen=True, kw_only=True):
    """One thing that must hold for the service to serve."""

    name: str
    ok: bool
    reason: str | None = None


class Readiness(Answer, frozen=True, kw_only=True):
    """Whether the service can serve, with reasons."""

    status: str
    checks: list[Check]

    @property
    def ready(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)
