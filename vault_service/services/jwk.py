"""Public keys that others send, as JWK (RFC 7517, 7518, 8037), with their thumbprints (RFC 7638).

What is kept of a key is its required members in canonical JSON, the bytes that the thumbprint
hashes. Which of the curves may be used for what is said by those who use them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

X25519: Final = "X25519"
ED25519: Final = "Ed25519"
P256: Final = "P-256"

_FORMS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    X25519: ("OKP", ("x",)),
    ED25519: ("OKP", ("x",)),
    P256: ("EC", ("x", "y")),
}
# What a key may say besides; none of it is kept, because the thumbprint does not bind it.
_BESIDES: Final = frozenset(("kid", "use", "alg", "key_ops"))
_COORDINATE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class Use(StrEnum):
    """What a key is for (RFC 7517, section 4.2)."""

    SIGNATURE = "sig"
    ENCRYPTION = "enc"


# What the public half may be said to do. The half that only others agree with does nothing itself.
_OPERATIONS: Final[Mapping[Use, Collection[frozenset[str]]]] = {
    Use.SIGNATURE: (frozenset(("verify",)), frozenset(("sign", "verify"))),
    Use.ENCRYPTION: (
        frozenset(),
        frozenset(("deriveKey",)),
        frozenset(("deriveBits",)),
        frozenset(("deriveKey", "deriveBits")),
    ),
}


class NotPublic(ValueError):
    """The members hold a private part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key.

    Attributes:
        curve: one of the curves above.
        members: its required members.
        jwk: the same in canonical JSON.
        thumbprint: SHA-256 of `jwk` in base64url.
    """

    curve: str
    members: Mapping[str, str]
    jwk: str
    thumbprint: str


def public_key(members: Mapping[str, object], curves: Collection[str], *, use: Use) -> PublicKey:
    """The key that these members are. Whether its point is a good one is not looked at.

    Raises:
        NotPublic: there is a private part.
        ValueError: it is no key of these curves, not in its one spelling, or says of itself that it
            is for something else.
    """
    if "d" in members:
        raise NotPublic
    curve = members.get("crv")
    if not isinstance(curve, str) or curve not in curves:
        raise ValueError
    kind, coordinates = _FORMS[curve]
    if members.get("kty") != kind or set(members) - _BESIDES != {"kty", "crv", *coordinates}:
        raise ValueError
    if members.get("use", use) != use or not _may(members.get("key_ops"), use):
        raise ValueError
    kept = {"crv": curve, "kty": kind} | {name: _coordinate(members[name]) for name in coordinates}
    jwk = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return PublicKey(curve=curve, members=kept, jwk=jwk, thumbprint=digest(jwk.encode()))


def digest(data: bytes) -> str:
    """SHA-256 in base64url, as JOSE tells it."""
    return encoded(hashlib.sha256(data).digest())


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The bytes of base64url in its one spelling: no padding, no space, no stray trailing bit.

    Raises:
        ValueError: it is not that.
    """
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encoded(data) != text:
        raise ValueError
    return data


def _may(operations: object, use: Use) -> bool:
    """Whether a key that says so of itself, or nothing, may be used so."""
    if operations is None:
        return True
    if not isinstance(operations, list) or not all(isinstance(each, str) for each in operations):
        return False
    return frozenset(operations) in _OPERATIONS[use]


def _coordinate(value: object) -> str:
    """32 bytes in base64url.

    Raises:
        ValueError: it is not that.
    """
    if not isinstance(value, str) or _COORDINATE.fullmatch(value) is None:
        raise ValueError
    decoded(value)
    return value
