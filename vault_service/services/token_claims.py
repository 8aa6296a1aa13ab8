"""What a disclosure token says: its claims as values, to JSON and back.

    {"iss","aud","sub","iat","nbf","exp","jti","grant","policy",
     "authorization_details": [{"type":"disclosure","ground","category","recipient","uses",
                                "recipient_id"?, "recipient_key"?, "delivery"?,
                                "tokens" | "tokens_sha256" | "customer"+"classes", "fields"?}],
     "cnf"?: {"jkt"}}

in the manner of RFC 9396 (authorization details) and RFC 7800 (cnf). Lists are sorted. More than
`INLINE_TOKENS` tokens are told by the SHA-256 of the sorted list, one to a line, because a header
line must stay short; the grant's row holds the list itself. Reading is total: what is not exactly
of this form is refused. Signatures and times are `disclosure_token`'s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from vault_service.domain import tokens as names
from vault_service.domain.disclosures import Scope
from vault_service.errors import DisclosureRefused, InvalidInput

# 64 tokens of 32 characters make a token of about 3.5 KiB; proxies allow 8 KiB in a header line.
INLINE_TOKENS: Final = 64

_MEMBERS: Final = frozenset(
    ("iss", "aud", "sub", "iat", "nbf", "exp", "jti", "grant", "policy", "authorization_details")
)
_DETAILS: Final = frozenset(("type", "ground", "category", "recipient", "uses"))
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_BOUND: Final = frozenset(("recipient_id", "recipient_key", "delivery"))
PACKAGE: Final = "package"
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_RECIPIENT: Final = re.compile(r"rec_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
# The last second of the year 9999, the last that a datetime can hold.
_LAST_SECOND: Final = 253_402_300_799
_MAX_USES: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The very recipient that a grant serves, the thumbprint of his key, and how.

    `delivery` is None where the holder is answered in plain; that is not told in the token.
    """

    recipient_id: str | None = None
    recipient_key: str | None = None
    delivery: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token proves: the row of a grant, as far as a token tells of it.

    `scope.classes` counts for a customer's scope only; see `claimed`.
    """

    id: str
    policy: str
    ground: str
    category: str
    recipient: str
    uses: int
    scope: Scope
    bound: Bound = field(default_factory=Bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedScope:
    """A scope as a token tells it: tokens or their digest, or a customer and classes."""

    tokens: tuple[str, ...] | None = None
    tokens_sha256: str | None = None
    customer: str | None = None
    classes: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureClaims:
    """All that a disclosure token says. Times are whole seconds, in UTC."""

    issuer: str
    audience: str
    holder: str
    issued_at: datetime
    not_before: datetime
    expires_at: datetime
    jti: str
    grant: str
    policy: str
    ground: str
    category: str
    recipient: str
    uses: int
    scope: ClaimedScope
    bound: Bound = field(default_factory=Bound)
    key_thumbprint: str | None = None

    def check_grant(self, grant: Grant) -> None:
        """Return if the token speaks of this grant exactly: same policy, ground, scope, all.

        A signed token without its row reveals nothing, and neither does a row that was changed
        after the token was signed.

        Raises:
            DisclosureRefused: `disclosure_policy_changed`, `disclosure_grant_mismatch`.
        """
        if self.policy != grant.policy:
            raise DisclosureRefused(
                "the token and the grant are of different versions of the policy",
                code="disclosure_policy_changed",
            )
        told = (self.grant, self.ground, self.category, self.recipient, self.uses, self.bound)
        held = (grant.id, grant.ground, grant.category, grant.recipient, grant.uses, grant.bound)
        if told != held or self.scope != claimed(grant.scope):
            raise DisclosureRefused(
                "the token and the grant do not say the same", code="disclosure_grant_mismatch"
            )


def claimed(scope: Scope) -> ClaimedScope:
    """The scope as a token tells it."""
    fields = None if scope.fields is None else tuple(sorted(scope.fields))
    if scope.tokens is None:
        return ClaimedScope(
            customer=scope.customer, classes=tuple(sorted(scope.classes)), fields=fields
        )
    listed = tuple(sorted(scope.tokens))
    if len(listed) <= INLINE_TOKENS:
        return ClaimedScope(tokens=listed, fields=fields)
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    return ClaimedScope(tokens_sha256=digest, fields=fields)


def to_members(claims: DisclosureClaims) -> dict[str, object]:
    """The claims as the members of a JSON object."""
    scope = claims.scope
    details: dict[str, object] = {
        "type": "disclosure",
        "ground": claims.ground,
        "category": claims.category,
        "recipient": claims.recipient,
        "uses": claims.uses,
    }
    details |= {
        name: value for name in sorted(_BOUND) if (value := getattr(claims.bound, name)) is not None
    }
    if scope.tokens is not None:
        details["tokens"] = list(scope.tokens)
    if scope.tokens_sha256 is not None:
        details["tokens_sha256"] = scope.tokens_sha256
    if scope.customer is not None:
        details["customer"] = scope.customer
    if scope.classes is not None:
        details["classes"] = list(scope.classes)
    if scope.fields is not None:
        details["fields"] = list(scope.fields)
    members: dict[str, object] = {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.holder,
        "iat": int(claims.issued_at.timestamp()),
        "nbf": int(claims.not_before.timestamp()),
        "exp": int(claims.expires_at.timestamp()),
        "jti": claims.jti,
        "grant": claims.grant,
        "policy": claims.policy,
        "authorization_details": [details],
    }
    if claims.key_thumbprint is not None:
        members["cnf"] = {"jkt": claims.key_thumbprint}
    return members


def from_members(members: Any) -> DisclosureClaims:
    """The claims that these members are.

    Raises:
        DisclosureRefused: `disclosure_token_claims`: one is missing, unknown or not of its form.
    """
    if not isinstance(members, dict) or not _MEMBERS <= set(members) <= _MEMBERS | {"cnf"}:
        _refuse()
    listed = members["authorization_details"]
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        _refuse()
    details = listed[0]
    if details.get("type") != "disclosure":
        _refuse()
    jti, grant = _text(members, "jti"), _text(members, "grant")
    try:
        bucket = names.bucket_from_jti(jti)
        if bucket != names.bucket_from_disclosure_id(grant):
            _refuse()
        holder = names.check_principal_id(_text(members, "sub"))
    except InvalidInput:
        _refuse()
    return DisclosureClaims(
        issuer=_text(members, "iss"),
        audience=_text(members, "aud"),
        holder=holder,
        issued_at=_time(members, "iat"),
        not_before=_time(members, "nbf"),
        expires_at=_time(members, "exp"),
        jti=jti,
        grant=grant,
        policy=_matching(_HASH, members["policy"]),
        ground=_matching(_WORD, details.get("ground")),
        category=_matching(_WORD, details.get("category")),
        recipient=_matching(_WORD, details.get("recipient")),
        uses=_number(details.get("uses"), 1, _MAX_USES),
        scope=_scope(details),
        bound=_bound(details),
        key_thumbprint=_thumbprint(members["cnf"]) if "cnf" in members else None,
    )


def _refuse() -> NoReturn:
    # The cause is not chained: it would quote the token.
    raise DisclosureRefused(
        "the token's claims are not those of a disclosure token", code="disclosure_token_claims"
    ) from None


def _bound(details: Mapping[str, object]) -> Bound:
    if "delivery" in details and details["delivery"] != PACKAGE:
        _refuse()
    return Bound(
        recipient_id=_optional(_RECIPIENT, details, "recipient_id"),
        recipient_key=_optional(_THUMBPRINT, details, "recipient_key"),
        delivery=PACKAGE if "delivery" in details else None,
    )


def _optional(form: re.Pattern[str], details: Mapping[str, object], name: str) -> str | None:
    return _matching(form, details[name]) if name in details else None


def _scope(details: Mapping[str, object]) -> ClaimedScope:
    told = set(details) - _DETAILS - _BOUND - {"fields"}
    fields = _list(_WORD, details["fields"]) if "fields" in details else None
    if told == {"tokens"}:
        listed = _sorted(details["tokens"])
        try:
            for token in listed:
                names.bucket_of_value(token)
        except InvalidInput:
            _refuse()
        if len(listed) > INLINE_TOKENS:
            _refuse()
        return ClaimedScope(tokens=listed, fields=fields)
    if told == {"tokens_sha256"}:
        digest = _matching(_HASH, details["tokens_sha256"])
        return ClaimedScope(tokens_sha256=digest, fields=fields)
    if told == {"customer", "classes"}:
        try:
            customer = names.check_customer_id(_text(details, "customer"))
        except InvalidInput:
            _refuse()
        classes = _list(_WORD, details["classes"])
        return ClaimedScope(customer=customer, classes=classes, fields=fields)
    _refuse()


def _text(members: Mapping[str, object], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not value:
        _refuse()
    return value


def _number(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        _refuse()
    return value


def _time(members: Mapping[str, object], name: str) -> datetime:
    return datetime.fromtimestamp(_number(members[name], 0, _LAST_SECOND), UTC)


def _matching(form: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        _refuse()
    return value


def _sorted(value: object) -> tuple[str, ...]:
    """A list of different strings in order; nobody may tell the same scope in two ways."""
    if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
        _refuse()
    if sorted(set(value)) != value:
        _refuse()
    return tuple(value)


def _list(form: re.Pattern[str], value: object) -> tuple[str, ...]:
    return tuple(_matching(form, item) for item in _sorted(value))


def _thumbprint(value: object) -> str:
    if not isinstance(value, dict) or set(value) != {"jkt"}:
        _refuse()
    return _matching(_THUMBPRINT, value["jkt"])
