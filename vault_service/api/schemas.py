"""The bodies and queries of the calls: what is accepted, and what is answered.

These types validate, encode and document; there is no second description. Unknown fields are
refused. A value's own rules (a card's check digit, a telephone's region) are the domain's.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from vault_service.api.errors import ItemError
from vault_service.domain.actors import Role
from vault_service.domain.addresses import FIELDS as ADDRESS_FIELDS
from vault_service.domain.classes import Category, DataClass

MAX_BATCH: Final = 1000
MAX_SEARCH: Final = 100
MAX_PAGE: Final = 100

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_CARD: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Card",
    "required": ["number", "exp_month", "exp_year"],
    "additionalProperties": False,
    "properties": {
        "number": {
            "type": "string",
            "description": "13 to 19 digits; spaces and dashes may stand.",
        },
        "exp_month": {"type": "integer", "minimum": 1, "maximum": 12},
        "exp_year": {"type": "integer", "description": "Four digits."},
        "name": {"type": ["string", "null"]},
    },
}
_ADDRESS: Final[dict[str, Any]] = {
    "type": "object",
    "title": "PostalAddress",
    "required": ["line1", "city", "country"],
    "additionalProperties": False,
    "properties": {name: {"type": ["string", "null"]} for name in ADDRESS_FIELDS},
}
_TELEPHONE: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Telephone",
    "required": ["number", "region"],
    "additionalProperties": False,
    "properties": {"number": _TEXT, "region": {"type": "string", "description": "As in ISO 3166."}},
}
_VALUE_SCHEMA: Final[dict[str, Any]] = {"anyOf": [_CARD, _ADDRESS, _TELEPHONE, _TEXT]}

Value = Annotated[
    Any,
    Meta(
        description="A card or an address as an object, everything else as a text.",
        extra_json_schema=_VALUE_SCHEMA,
    ),
]
Class = Annotated[
    str,
    Meta(description="Class of the data.", extra_json_schema={"enum": [str(c) for c in DataClass]}),
]
CustomerId = Annotated[str, Meta(description="A customer, `cus_…`.")]
TokenId = Annotated[str, Meta(description="A token, `tok_…` or card-shaped.", max_length=64)]
Text = Annotated[str, Meta(max_length=4000)]
RoleName = Annotated[str, Meta(extra_json_schema={"enum": [str(role) for role in Role]})]
Cursor = Annotated[str, Meta(description="`next` of the page before.", max_length=128)]
Limit = Annotated[int, Meta(description="Items on a page.", ge=1, le=MAX_PAGE)]
# A year of four digits, so that PostgreSQL, JSON and people agree on what it is.
Time = Annotated[datetime, Meta(tz=True, description="A time with its offset from UTC.")]


class Accepted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes in."""


class Answered(Struct, frozen=True, kw_only=True):
    """What goes out."""


# ---------------------------------------------------------------- tokens


class TokenIn(Accepted, frozen=True, rename={"data_class": "class"}):
    """A value to tokenize."""

    data_class: Class
    customer: CustomerId
    value: Value
    format: Annotated[
        str,
        Meta(
            description="`card` looks like a card number and is none.",
            extra_json_schema={"enum": ["opaque", "card"]},
        ),
    ] = "opaque"
    reference: Annotated[str, Meta(description="Your own name for it, echoed.")] | None = None
    metadata: (
        Annotated[dict[str, str], Meta(description="Flat texts, kept in clear: nothing secret.")]
        | None
    ) = None
    expires_at: Time | None = None


class TokenBatchIn(Accepted, frozen=True):
    """Values to tokenize; each succeeds or fails alone."""

    items: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MAX_BATCH,
            extra_json_schema={"items": {"$ref": "#/components/schemas/TokenIn"}},
        ),
    ]


class TokenOut(Answered, frozen=True, rename={"data_class": "class"}):
    """A token and what may be shown of its value."""

    id: str
    data_class: str
    customer: str
    mask: dict[str, Any]
    format: str
    version: int
    deduplicated: bool
    created_at: datetime
    expires_at: datetime | None
    reference: str | None
    metadata: dict[str, str] | None


class VersionOut(Answered, frozen=True):
    """One version of a record, masked; `modification` made it, `until` it was replaced."""

    version: int
    mask: dict[str, Any]
    since: datetime
    until: datetime | None
    modification: str | None


class VersionsOut(Answered, frozen=True):
    """A record's versions, newest first."""

    items: list[VersionOut]


class TokenResult(Answered, frozen=True, omit_defaults=True):
    """One item's outcome: a token or an error."""

    token: TokenOut | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET
    reference: str | None = None


class TokenBatchOut(Answered, frozen=True):
    """One result for each item, in order."""

    results: list[TokenResult]


class TokensQuery(Accepted, frozen=True, rename={"data_class": "class"}):
    """Which tokens."""

    customer: CustomerId
    data_class: Class | None = None
    cursor: Cursor | None = None
    limit: Limit = MAX_PAGE


class TokenPageOut(Answered, frozen=True):
    """Tokens in the order of their names."""

    items: list[TokenOut]
    next: str | None


class SearchIn(Accepted, frozen=True, rename={"data_class": "class"}):
    """What to look for, exactly: one `value`, or several `values`; a card's number suffices."""

    data_class: Class
    value: Annotated[Any, Meta(extra_json_schema=_VALUE_SCHEMA)] = UNSET
    values: (
        Annotated[
            list[Any],
            Meta(min_length=1, max_length=MAX_SEARCH, extra_json_schema={"items": _VALUE_SCHEMA}),
        ]
        | UnsetType
    ) = UNSET


class SearchResult(Answered, frozen=True, omit_defaults=True):
    """What was found for one value, or why it could not be looked for."""

    tokens: list[TokenOut] | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class SearchOut(Answered, frozen=True, omit_defaults=True):
    """For one `value` the `items` that hold it; for `values` one result each, in order."""

    items: list[TokenOut] | UnsetType = UNSET
    results: list[SearchResult] | UnsetType = UNSET


# ---------------------------------------------------------------- customers


class CustomerIn(Accepted, frozen=True):
    """A customer; the same reference gives the same customer."""

    external_ref: (
        Annotated[str, Meta(description="Your name for the customer; kept as a fingerprint only.")]
        | None
    ) = None


class CustomerOut(Answered, frozen=True):
    """A customer."""

    id: str
    created_at: datetime


class CustomerBatchIn(Accepted, frozen=True):
    """References to make customers of, or to find them by; each succeeds or fails alone."""

    items: Annotated[list[CustomerIn], Meta(min_length=1, max_length=MAX_BATCH)]


class CustomerResult(Answered, frozen=True, omit_defaults=True):
    """One item's outcome: a customer, and whether it is new, or an error."""

    customer: CustomerOut | UnsetType = UNSET
    created: bool | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class CustomerBatchOut(Answered, frozen=True):
    """One result for each item, in order."""

    results: list[CustomerResult]


class CustomerSearchIn(Accepted, frozen=True, rename={"data_class": "class"}):
    """Whom to find: by references, or by values of a class."""

    external_refs: Annotated[list[str], Meta(min_length=1, max_length=MAX_BATCH)] | UnsetType = (
        UNSET
    )
    data_class: Class | UnsetType = UNSET
    values: (
        Annotated[
            list[Any],
            Meta(min_length=1, max_length=MAX_SEARCH, extra_json_schema={"items": _VALUE_SCHEMA}),
        ]
        | UnsetType
    ) = UNSET


class CustomerMatchOut(Answered, frozen=True):
    """A customer and the records by which he was found, masked."""

    id: str
    tokens: list[TokenOut]


class CustomerSearchResult(Answered, frozen=True, omit_defaults=True):
    """Who was found by one reference or value; nobody is an empty list."""

    customers: list[CustomerMatchOut] | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class CustomerSearchOut(Answered, frozen=True):
    """One result for each reference or value, in order."""

    results: list[CustomerSearchResult]


class LinkIn(Accepted, frozen=True):
    """Who is the same customer."""

    other: CustomerId


class LinkOut(Answered, frozen=True):
    """Two customers who are shown together."""

    customer: str
    other: str


class ProfileOut(Answered, frozen=True):
    """A customer with masked records by class; `truncated` when there are more.

    Records of linked customers stand among his own, each with its `customer`.
    """

    id: str
    created_at: datetime
    linked: list[str]
    tokens: dict[str, list[TokenOut]]
    truncated: bool


# ---------------------------------------------------------------- disclosures


class Recipient(Accepted, frozen=True):
    """Who shall receive the data: kind and name, or one on record."""

    kind: Annotated[str, Meta(max_length=64)] | None = None
    name: Text | None = None
    id: Annotated[str, Meta(description="A recipient, `rec_…`.", max_length=64)] | None = None


class DisclosureIn(Accepted, frozen=True):
    """A request to disclose: a ground of the policy, a scope, a recipient, evidence."""

    ground: Annotated[str, Meta(max_length=64)]
    category: Annotated[
        str, Meta(max_length=64, extra_json_schema={"enum": [str(c) for c in Category]})
    ]
    recipient: Recipient
    tokens: Annotated[list[TokenId], Meta(max_length=MAX_BATCH)] | None = None
    customer: CustomerId | None = None
    classes: Annotated[list[Class], Meta(max_length=16)] | None = None
    fields: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=32)] | None = None
    evidence: Annotated[dict[str, str], Meta(description="What the ground asks for.")] = {}
    uses: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    duration_seconds: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    delivery: Annotated[
        str,
        Meta(
            description="To the token's holder in plain, or as a package that the recipient opens.",
            max_length=16,
            extra_json_schema={"enum": ["holder", "package"]},
        ),
    ] = "holder"
    proof_of_possession: Annotated[
        bool,
        Meta(description="Give disclosure tokens only to the holder of a key (DPoP, RFC 9449)."),
    ] = False
    amends: (
        Annotated[
            str, Meta(description="A request in whose place this one is made.", max_length=64)
        ]
        | None
    ) = None
    draft: bool = False


class RecipientOut(Answered, frozen=True, omit_defaults=True):
    """Who shall receive the data; the name only for requester and officers."""

    kind: str
    name: str | None
    id: str | None = None
    thumbprint: str | None = None


class DecisionOut(Answered, frozen=True):
    """What an officer decided."""

    kind: str
    principal: str
    at: datetime
    comment: str | None


class InstrumentOut(Answered, frozen=True):
    """What an officer said of the instrument."""

    tokens: list[str] | None
    customer: str | None
    classes: list[str]
    begins: date | None
    ends: date | None


class DisclosureOut(Answered, frozen=True):
    """A request or a grant."""

    id: str
    state: str
    requester: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient: RecipientOut
    delivery: str
    proof_of_possession: bool
    evidence: dict[str, Any] | None
    tokens: list[str] | None
    customer: str | None
    classes: list[str] | None
    fields: list[str] | None
    uses: int
    uses_left: int
    approvals_needed: int
    determination_needed: bool
    created_at: datetime
    submitted_at: datetime | None
    activated_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    decisions: list[DecisionOut]
    amends: str | None
    instrument: InstrumentOut | None


class DisclosuresQuery(Accepted, frozen=True):
    """Which requests."""

    state: Annotated[str, Meta(max_length=32)] | None = None
    cursor: Cursor | None = None
    limit: Limit = MAX_PAGE


class DisclosurePageOut(Answered, frozen=True):
    """Requests in the order of their names."""

    items: list[DisclosureOut]
    next: str | None


class CommentIn(Accepted, frozen=True):
    """Why, in words that only requester and officers read."""

    comment: Text | None = None


class InstrumentIn(Accepted, frozen=True):
    """What the instrument covers, as the officer reads it: tokens, or a customer and classes."""

    tokens: Annotated[list[TokenId], Meta(min_length=1, max_length=MAX_BATCH)] | None = None
    customer: CustomerId | None = None
    classes: Annotated[list[Class], Meta(min_length=1, max_length=16)] | None = None
    begins: Annotated[date, Meta(description="Its first day.")] | None = None
    ends: Annotated[date, Meta(description="Its last day.")] | None = None


class DeterminationIn(Accepted, frozen=True):
    """What an officer found; what he says of the instrument bounds the grant."""

    valid: bool
    reasons: Text
    instrument: InstrumentIn | None = None


class AnnulmentIn(Accepted, frozen=True):
    """Why an instrument is valid no longer."""

    reasons: Text


class NothingIn(Accepted, frozen=True):
    """Nothing; an empty object or no body."""


class DisclosureTokenOut(Answered, frozen=True):
    """A disclosure token, for the header Disclosure-Token of a reveal."""

    token: str
    expires_at: datetime


class ReasonOut(Answered, frozen=True):
    """One missing piece, by JSON pointer into the request."""

    code: str
    pointer: str
    detail: str
    clause: str | None
    stage: str


class ExplanationOut(Answered, frozen=True):
    """Whether the policy would allow a request, by which clause, or each reason why not."""

    allowed: bool
    clause: str | None
    missing: list[ReasonOut]


# ---------------------------------------------------------------- reveal


class ContentIn(Accepted, frozen=True):
    """Which communication's contents to reveal."""

    token: Annotated[str, Meta(max_length=64)]


class RevealIn(Accepted, frozen=True):
    """Which tokens' values; `fields` narrows what is shown of each."""

    tokens: Annotated[list[TokenId], Meta(min_length=1, max_length=MAX_BATCH)]
    fields: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=32)] | None = None


class RevealResult(Answered, frozen=True, omit_defaults=True, rename={"data_class": "class"}):
    """One value, or why there is none."""

    id: str
    data_class: str | UnsetType = UNSET
    value: Any | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class ReceiptOut(Answered, frozen=True, omit_defaults=True):
    """What proves the reveal later."""

    entry: str
    grant: str
    ground: str
    clause: str
    at: datetime
    values: int
    recipient: str | None = None


class RevealOut(Answered, frozen=True, omit_defaults=True):
    """One result for each token, in order, and the receipt; or a package of both for another."""

    receipt: ReceiptOut
    results: list[RevealResult] | UnsetType = UNSET
    package: Annotated[str, Meta(description="A JWE that the recipient opens.")] | UnsetType = UNSET


# ---------------------------------------------------------------- principals


class PrincipalIn(Accepted, frozen=True):
    """A principal to make, with its roles and its first key's end."""

    name: Annotated[str, Meta(max_length=200)]
    roles: Annotated[list[RoleName], Meta(min_length=1, max_length=len(Role))]
    key_expires_at: Time | None = None


class RolesIn(Accepted, frozen=True):
    """The roles from now on."""

    roles: Annotated[list[RoleName], Meta(min_length=1, max_length=len(Role))]


class KeyIn(Accepted, frozen=True):
    """Another key; `revoke` names one that ends with it."""

    expires_at: Time | None = None
    revoke: Annotated[str, Meta(max_length=64)] | None = None


class KeyOut(Answered, frozen=True):
    """An API key without its secret."""

    id: str
    state: str
    created_by: str
    confirmed_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class PrincipalOut(Answered, frozen=True):
    """A principal with its keys."""

    id: str
    name: str
    roles: list[str]
    state: str
    created_at: datetime
    keys: list[KeyOut]


class IssuedKeyOut(Answered, frozen=True):
    """A new API key; `key` is shown this once."""

    id: str
    state: str
    key: str
    principal: PrincipalOut


class PageQuery(Accepted, frozen=True):
    """Which page."""

    cursor: Cursor | None = None
    limit: Limit = MAX_PAGE


class PrincipalPageOut(Answered, frozen=True):
    """Principals in the order of their names."""

    items: list[PrincipalOut]
    next: str | None


# ---------------------------------------------------------------- the service itself


class AliveOut(Answered, frozen=True):
    """The process runs."""

    status: str


class CheckOut(Answered, frozen=True):
    """One thing that must hold."""

    name: str
    ok: bool
    reason: str | None


class ReadyOut(Answered, frozen=True):
    """Whether the process can serve, with reasons."""

    status: str
    checks: list[CheckOut]


class VisitIn(Accepted, frozen=True):
    """A visit of the company's website, told by one of its pages. Nothing of it is kept."""

    page: Annotated[str, Meta(max_length=2048, description="The page's path or address.")]
    referrer: Annotated[
        str, Meta(max_length=2048, description="The address that the visitor came from.")
    ] = ""


class VisitQuery(Accepted, frozen=True):
    """The same, told by the address of an image."""

    p: Annotated[str, Meta(max_length=2048)] = ""
    r: Annotated[str, Meta(max_length=2048)] = ""
