"""Reads DPoP proofs (RFC 9449): that a caller holds a private key, for one request, now.

    DPoP: BASE64URL(header) . BASE64URL(claims) . BASE64URL(signature)
    header = {"typ":"dpop+jwt","alg":"ES256"|"Ed25519","jwk":public key}
    claims = {"jti","htm","htu","iat","nonce","ath"?}

Stricter than the RFC where it leaves a choice: the header has these three parameters and no other,
a nonce is always asked for, and `ath` stands in a proof exactly if a token is shown with it. Other
claims are not looked at. Whether a proof was used before is `possession`'s to know.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from vault_service.errors import ProofRefused
from vault_service.services.jwk import (
    ED25519,
    P256,
    NotPublic,
    PublicKey,
    Use,
    decoded,
    digest,
    public_key,
)

TYPE: Final = "dpop+jwt"
# Algorithm -> curve. One of each kind, by its one name (RFC 7518, RFC 9864).
ALGORITHMS: Final[Mapping[str, str]] = {"ES256": P256, "Ed25519": ED25519}
MAX_LENGTH: Final = 4096
# The nonce says when a proof can have been made; this allows for a clock that is not right.
MAX_AGE: Final = timedelta(seconds=120)
MAX_AHEAD: Final = timedelta(seconds=30)

_SIGNATURE_BYTES: Final = 64
_HEADER: Final = frozenset(("typ", "alg", "jwk"))
_JTI: Final = re.compile(r"[\x21-\x7e]{8,256}", re.ASCII)
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_SCHEMES: Final = {"https": 443, "http": 80}
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})", re.ASCII)
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownProof:
    """What a caller put into the header `DPoP`, and the request that it came with."""

    jws: str = field(repr=False)
    method: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A proof that is right.

    Attributes:
        thumbprint: of the key that the caller holds (RFC 7638).
        digest: what it is known by, if it comes again.
        issued_at: when its maker says that it was made.
        nonce: what the next proof is to carry.
    """

    thumbprint: str
    digest: bytes
    issued_at: datetime
    nonce: str


def verify(
    shown: ShownProof,
    *,
    base: str,
    now: datetime,
    nonces: Sequence[str],
    token: str | None,
) -> Proof:
    """The proof that a caller shows.

    1. Three parts in canonical base64url, JSON objects without repeated members.
    2. A header of exactly `typ`, `alg` and `jwk`; a public key of the algorithm's curve.
    3. A signature by that key.
    4. Claims for this request: method, address, token, nonce, time.

    Args:
        shown: the proof and its request.
        base: the address of this service by its settings; what the caller says of it is not asked.
        now: the database's time.
        nonces: those that are taken, the newest first.
        token: the disclosure token shown with it, or None where one is asked for.

    Raises:
        ProofRefused: with a code of its own for each cause.
    """
    header, payload, signature = _parts(shown.jws)
    key, algorithm = _key(_object(header))
    claims = _object(payload)
    if len(signature) != _SIGNATURE_BYTES or not _signed(shown.jws, key, algorithm):
        _refuse("signature", "the proof's signature is wrong")
    _check_request(claims, shown, base)
    _check_token(claims, token)
    if claims.get("nonce") not in nonces:
        raise ProofRefused(
            "make a proof with the nonce of the header DPoP-Nonce",
            code="use_dpop_nonce",
            error="use_dpop_nonce",
            nonce=nonces[0],
        )
    issued_at = _issued_at(claims, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or _JTI.fullmatch(jti) is None:
        _refuse("claims", "the proof's jti is not 8 to 256 visible characters")
    return Proof(
        thumbprint=key.thumbprint,
        digest=hashlib.sha256(f"{key.thumbprint}.{jti}".encode()).digest(),
        issued_at=issued_at,
        nonce=nonces[0],
    )


def missing() -> ProofRefused:
    """That a proof is needed and none is shown."""
    return ProofRefused("a DPoP proof is needed in the header DPoP", code="dpop_proof_missing")


def _parts(text: str) -> tuple[bytes, bytes, bytes]:
    # Two headers arrive joined by a comma, which no part has.
    parts = text.split(".") if len(text) <= MAX_LENGTH else []
    if len(parts) != 3:
        _refuse("malformed", "this is not one DPoP proof")
    try:
        return decoded(parts[0]), decoded(parts[1]), decoded(parts[2])
    except ValueError:
        _refuse("malformed", "this is not one DPoP proof")


def _object(part: bytes) -> dict[str, Any]:
    try:
        found = json.loads(part.decode(), object_pairs_hook=_members, parse_constant=_constant)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        _refuse("malformed", "this is not one DPoP proof")
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _constant(_name: str) -> NoReturn:
    raise ValueError


def _key(header: Mapping[str, Any]) -> tuple[PublicKey, str]:
    if header.get("typ") != TYPE:
        _refuse("type", "this is a token of another type, and no DPoP proof")
    if "crit" in header:
        _refuse("critical_header", "the proof asks for an extension, and there are none")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        _refuse("algorithm", f"a proof is signed with {' or '.join(ALGORITHMS)}")
    if set(header) != _HEADER:
        _refuse("malformed", "the proof's header has parameters that it may not have")
    jwk = header["jwk"]
    if not isinstance(jwk, dict):
        _refuse("key", "the proof's key is no public key of its algorithm")
    try:
        key = public_key(jwk, {ALGORITHMS[algorithm]}, use=Use.SIGNATURE)
    except NotPublic:
        _refuse("key_private", "the proof holds a private key, which is known now; make a new one")
    except ValueError:
        key = None
    if key is None or jwk.get("alg", algorithm) != algorithm:
        _refuse("key", "the proof's key is no public key of its algorithm")
    return key, algorithm


def _signed(text: str, key: PublicKey, algorithm: str) -> bool:
    kind = OKPKey if key.curve == ED25519 else ECKey
    try:
        jws.deserialize_compact(text, kind.import_key(dict(key.members)), algorithms=[algorithm])
    except (JoseError, ValueError):
        return False
    return True


def _check_request(claims: Mapping[str, Any], shown: ShownProof, base: str) -> None:
    if claims.get("htm") != shown.method:
        _refuse("method", "the proof is for another method")
    address = claims.get("htu")
    told = _plain(address) if isinstance(address, str) else None
    if told is None or told != _plain(f"{base}{shown.path}"):
        _refuse("address", "the proof is for another address")


def _check_token(claims: Mapping[str, Any], token: str | None) -> None:
    if token is None:
        if "ath" in claims:
            _refuse("token", "the proof is for a disclosure token, and none is shown here")
    elif claims.get("ath") != digest(token.encode()):
        _refuse("token", "the proof is for another disclosure token")


def _issued_at(claims: Mapping[str, Any], now: datetime) -> datetime:
    seconds = claims.get("iat")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        _refuse("claims", "the proof's iat is no time")
    first, last = (now - MAX_AGE).timestamp(), (now + MAX_AHEAD).timestamp()
    if not first <= seconds <= last:
        _refuse("time", "the proof is too old, or its maker's clock is ahead")
    return datetime.fromtimestamp(seconds, UTC)


def _plain(address: str) -> tuple[str, str, int, str] | None:
    """Scheme, host, port and path, in one spelling; None where it is no address of a service.

    Query and fragment are left out (RFC 9449, section 4.3).
    """
    # The parser takes line breaks out and spaces off, and would find what nobody wrote.
    if _VISIBLE.fullmatch(address) is None:
        return None
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.username is not None:
        return None
    path = _ESCAPE.sub(_unescaped, parts.path) or "/"
    return parts.scheme, parts.hostname, port or _SCHEMES[parts.scheme], path


def _unescaped(match: re.Match[str]) -> str:
    """An escape that says nothing is undone, any other spelt in capitals (RFC 3986, 6.2.2)."""
    char = chr(int(match[1], 16))
    return char if _UNRESERVED.fullmatch(char) else match[0].upper()


def _refuse(cause: str, detail: str) -> NoReturn:
    # The cause is not chained: it may quote the proof.
    raise ProofRefused(detail, code=f"dpop_proof_{cause}") from None
