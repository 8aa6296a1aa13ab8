"""Makes and checks disclosure tokens: JWS compact, Ed25519, signed by Vault.

    BASE64URL(header) . BASE64URL(claims) . BASE64URL(signature)
    header = {"alg":"Ed25519","kid":"disclosure-token:<key version>","typ":"disclosure+jwt"}

Header and claims are canonical JSON, so a token has one spelling. There is one algorithm and there
are three header parameters; everything else is refused, because each parameter that a verifier
obeys is one that an attacker can use (`none`, HS256 with the public key, embedded keys, `crit`).

A valid token is one of three things that must agree. The others, the caller's own credential and
the grant's row, are checked by `reveal`; this module reads no row.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NoReturn, Protocol

from keys.errors import SignatureRejected
from keys.signature import verify_ed25519
from vault_service.domain.grounds import MAX_TOKEN_LIFE
from vault_service.errors import DisclosureRefused, ProofRefused
from vault_service.ledger import canonical
from vault_service.services.dpop import missing
from vault_service.services.token_claims import (
    ClaimedScope,
    DisclosureClaims,
    Grant,
    claimed,
    from_members,
    to_members,
)
from vault_service.services.token_keys import ALGORITHM, KEY_NAME, PublicKeys, TokenKeys, key_id

__all__ = [
    "MAX_LENGTH",
    "MAX_LIFE",
    "ClaimedScope",
    "DisclosureClaims",
    "Grant",
    "IssuedToken",
    "PublicKeys",
    "Signer",
    "TokenIssuer",
    "TokenKeys",
    "TokenVerifier",
]

TYPE: Final = "disclosure+jwt"
MAX_LIFE: Final = MAX_TOKEN_LIFE
# Shorter than the header line that common proxies pass on (nginx and gunicorn: 8 KiB).
MAX_LENGTH: Final = 7936
_KID: Final = re.compile(rf"{KEY_NAME}:([1-9][0-9]{{0,8}})", re.ASCII)
# A key may be rotated while a token is being signed; three times in a row is a fault.
_SIGNING_TRIES: Final = 3


class Signer(Protocol):
    """Signs with the newest version of the Transit key `disclosure-token`."""

    def sign_many(self, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """For each message the version that signed, and the raw signature of 64 bytes.

        Raises:
            VaultUnavailable: Vault gave no answer in time; none counts as signed.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A fresh token and what it says. `token` is a secret of its holder."""

    token: str = field(repr=False)
    claims: DisclosureClaims


class TokenIssuer:
    """Makes tokens.

    Args:
        signer: signs in Vault.
        keys: tells the newest version before signing, since the signed header names it.
        issuer: `iss`, the address of this service.
        audience: `aud`, the address of the service that reveals.
    """

    def __init__(self, signer: Signer, keys: TokenKeys, *, issuer: str, audience: str) -> None:
        self._signer = signer
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    def claims(
        self,
        grant: Grant,
        *,
        holder: str,
        jti: str,
        now: datetime,
        life: timedelta,
        grant_ends: datetime,
        key_thumbprint: str | None = None,
    ) -> DisclosureClaims:
        """What a token for `holder` says, from `now` on.

        It lives for at most `life`, `MAX_LIFE` and until the grant's end.

        Args:
            grant: what it proves.
            holder: principal who alone can use it.
            jti: its name, registered in the database by the caller.
            now: the database's time.
            life: longest life that the ground allows.
            grant_ends: when the grant ends.
            key_thumbprint: RFC 7638 thumbprint of the key that its holder must prove to have.

        Raises:
            DisclosureRefused: `disclosure_grant_ended`: less than a second of it is left.
        """
        issued_at = now.replace(microsecond=0)
        ends = min(issued_at + min(life, MAX_LIFE), grant_ends.replace(microsecond=0))
        if ends <= now:
            raise DisclosureRefused("the grant has ended", code="disclosure_grant_ended")
        return DisclosureClaims(
            issuer=self._issuer,
            audience=self._audience,
            holder=holder,
            issued_at=issued_at,
            not_before=issued_at,
            expires_at=ends,
            jti=jti,
            grant=grant.id,
            policy=grant.policy,
            ground=grant.ground,
            category=grant.category,
            recipient=grant.recipient,
            uses=grant.uses,
            scope=claimed(grant.scope),
            bound=grant.bound,
            key_thumbprint=key_thumbprint,
        )

    def sign(self, claims: Sequence[DisclosureClaims]) -> list[IssuedToken | ValueError]:
        """Tokens that say this, in order; an error where one is too long for a header line.

        Raises:
            VaultUnavailable: Vault gave no answer in time; there are no tokens.
        """
        if not claims:
            return []
        payloads = [_encode(canonical.serialise(to_members(each))) for each in claims]
        tokens: dict[int, str] = {}
        version = self._keys.newest()
        for _ in range(_SIGNING_TRIES):
            header = canonical.serialise({"alg": ALGORITHM, "kid": key_id(version), "typ": TYPE})
            texts = {
                place: f"{_encode(header)}.{payload}"
                for place, payload in enumerate(payloads)
                if place not in tokens
            }
            signed = self._signer.sign_many([text.encode() for text in texts.values()])
            for (place, text), (signed_by, signature) in zip(texts.items(), signed, strict=True):
                if signed_by == version:
                    tokens[place] = f"{text}.{_encode(signature)}"
            if len(tokens) == len(payloads):
                return [
                    IssuedToken(token=tokens[place], claims=each)
                    if len(tokens[place]) <= MAX_LENGTH
                    else ValueError("the token is too long for a header line")
                    for place, each in enumerate(claims)
                ]
            version = signed[-1][0]
        raise RuntimeError("the signing key changes faster than tokens can be signed")


class TokenVerifier:
    """Checks tokens. Refusals say which check failed; none repeats any of the token."""

    def __init__(self, keys: TokenKeys) -> None:
        self._keys = keys

    def verify(
        self,
        token: str,
        *,
        holder: str,
        audience: str,
        issuer: str,
        proven_key: str | None = None,
    ) -> DisclosureClaims:
        """The claims of a token for this holder, whose times `check_times` has yet to judge.

        1. Three parts in canonical base64url, within the length of a header line.
        2. A header of exactly `alg`, `kid` and `typ`, with the one algorithm and the one type.
        3. A key that this service's Vault has, and a signature by it.
        4. Claims of exactly the form of `token_claims`.
        5. Issuer, audience, holder, and the key that the token is bound to, if it is.

        Args:
            token: the header `Disclosure-Token`.
            holder: principal whose own credential came with the request.
            audience: what `aud` must be.
            issuer: what `iss` must be.
            proven_key: thumbprint of the key that the caller has proven to have, if any.

        Raises:
            DisclosureRefused: with a code of its own for each cause (`disclosure_token_…`).
            ProofRefused: the token and the key that was proven are not for each other.
            VaultUnavailable: the public keys are needed and cannot be fetched.
        """
        header, payload, signature = _parts(token)
        version = _version(header)
        said = _decode(payload)
        self._check_signature(version, f"{header}.{payload}".encode(), _decode(signature))
        claims = from_members(_json(said))
        if claims.issuer != issuer:
            _refuse("issuer", "the token was made by another service")
        if claims.audience != audience:
            _refuse("audience", "the token was made for another service")
        if claims.holder != holder:
            _refuse("holder", "the token was made for somebody else")
        check_possession(claims.key_thumbprint, proven_key)
        return claims

    def _check_signature(self, version: int, signed: bytes, signature: bytes) -> None:
        key = self._keys.get(version)
        if key is None:
            _refuse("key_unknown", "no such key signs disclosure tokens")
        try:
            verify_ed25519(key, signed, signature)
        except SignatureRejected:
            _refuse("signature", "the token's signature is wrong")


def check_possession(bound_to: str | None, proven: str | None) -> None:
    """Return if a token bound to this key, or to none, may be used with the key that was proven.

    Raises:
        ProofRefused: `dpop_proof_missing`, `disclosure_token_proof`: it is bound to a key that
            was not proven; `disclosure_token_unbound`: it is bound to none.
    """
    if bound_to == proven:
        return
    if proven is None:
        raise missing()
    if bound_to is None:
        raise ProofRefused(
            "the token is bound to no key; it is used without a proof",
            code="disclosure_token_unbound",
            error="invalid_token",
        )
    raise ProofRefused(
        "the token is bound to another key than that of the proof",
        code="disclosure_token_proof",
        error="invalid_token",
    )


def _parts(token: str) -> tuple[str, str, str]:
    parts = token.split(".") if len(token) <= MAX_LENGTH else []
    if len(parts) != 3:
        _refuse("malformed", "this is not a disclosure token")
    return parts[0], parts[1], parts[2]


@lru_cache(maxsize=64)
def _version(part: str) -> int:
    """The version of the key that a header names. It is no secret, and the same in all tokens.

    Raises:
        DisclosureRefused: it is not a header of ours; what is refused is not remembered.
    """
    header = _json(_decode(part))
    if not isinstance(header, dict):
        _refuse("malformed", "this is not a disclosure token")
    if header.get("alg") != ALGORITHM:
        _refuse("algorithm", "the token is not signed with the one algorithm that is accepted")
    if "crit" in header:
        _refuse("critical_header", "the token asks for an extension, and there are none")
    if header.get("typ") != TYPE:
        _refuse("type", "this is a token of another type")
    kid = header.get("kid")
    match = _KID.fullmatch(kid) if isinstance(kid, str) else None
    if match is None:
        _refuse("key_unknown", "no such key signs disclosure tokens")
    if set(header) != {"alg", "typ", "kid"}:
        _refuse("malformed", "the token's header has parameters that it may not have")
    return int(match[1])


def check_times(claims: DisclosureClaims, now: datetime) -> None:
    """Return if a verified token is valid at this time, which is the database's.

    Raises:
        DisclosureRefused: it is not yet, or no more, or lives longer than a token may.
    """
    lives = claims.expires_at - claims.issued_at
    in_order = claims.issued_at <= claims.not_before < claims.expires_at
    # Also when the signature is right: whoever gets hold of the signer for a moment shall not
    # have tokens for years.
    if not in_order or lives > MAX_LIFE:
        _refuse("claims", "the token lives longer than a token may")
    if now < claims.not_before:
        _refuse("not_yet_valid", "the token is not valid yet")
    if now >= claims.expires_at:
        _refuse("expired", "the token has expired")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    """The bytes of canonical base64url: no padding, no whitespace, no stray trailing bits."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        _refuse("malformed", "this is not a disclosure token")
    if _encode(data) != part:
        _refuse("malformed", "this is not a disclosure token")
    return data


def _json(data: bytes) -> Any:
    try:
        return canonical.parse(data)
    except canonical.CanonicalError:
        _refuse("malformed", "this is not a disclosure token")


def _refuse(cause: str, detail: str) -> NoReturn:
    # The cause is not chained: the errors below quote the token, which is a secret.
    raise DisclosureRefused(detail, code=f"disclosure_token_{cause}") from None
