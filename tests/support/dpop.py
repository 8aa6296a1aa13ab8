"""DPoP proofs as a holder makes them, or as somebody makes them who means ill.

Made with `cryptography` alone, so that the service's own library does not check itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.whole import Stage
from vault_service.errors import ProofRefused
from vault_service.services.dpop import ShownProof
from vault_service.services.views import RevealAnswer

ISSUER = "https://vault.example"
REVEAL = "/v1/reveal"
ABSENT = object()


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def ath(token: str) -> str:
    """A token's hash."""
    return b64(hashlib.sha256(token.encode()).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderKey:
    """A key pair of one of the two kinds."""

    algorithm: str
    jwk: Mapping[str, str]
    sign: Callable[[bytes], bytes] = field(repr=False)

    @property
    def thumbprint(self) -> str:
        """RFC 7638."""
        text = json.dumps(dict(self.jwk), sort_keys=True, separators=(",", ":"))
        return b64(hashlib.sha256(text.encode()).digest())


def holder_key(algorithm: str = "ES256") -> HolderKey:
    """A fresh key pair."""
    if algorithm == "Ed25519":
        private = ed25519.Ed25519PrivateKey.generate()
        x = b64(private.public_key().public_bytes_raw())
        return HolderKey(
            algorithm=algorithm,
            jwk={"kty": "OKP", "crv": "Ed25519", "x": x},
            sign=private.sign,
        )
    secret = ec.generate_private_key(ec.SECP256R1())
    numbers = secret.public_key().public_numbers()

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(secret.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return HolderKey(
        algorithm=algorithm,
        jwk={
            "kty": "EC",
            "crv": "P-256",
            "x": b64(numbers.x.to_bytes(32, "big")),
            "y": b64(numbers.y.to_bytes(32, "big")),
        },
        sign=sign,
    )


def proof(
    key: HolderKey,
    *,
    path: str = REVEAL,
    now: datetime,
    nonce: str,
    token: str | None = None,
    header: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """A proof; `header` and `claims` are changes, `ABSENT` takes a member out."""
    said = {"typ": "dpop+jwt", "alg": key.algorithm, "jwk": dict(key.jwk)} | dict(header or {})
    told: dict[str, Any] = {
        "jti": secrets.token_urlsafe(16),
        "htm": "POST",
        "htu": f"{ISSUER}{path}",
        "iat": int(now.timestamp()),
        "nonce": nonce,
    }
    if token is not None:
        told["ath"] = ath(token)
    told |= dict(claims or {})
    return signed(key, json.dumps(_kept(said)).encode(), json.dumps(_kept(told)).encode())


def signed(key: HolderKey, header: bytes, claims: bytes) -> str:
    """A signature over these very bytes."""
    body = f"{b64(header)}.{b64(claims)}"
    return f"{body}.{b64(key.sign(body.encode()))}"


def _kept(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ABSENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody with a key who asks the service of a stage."""

    stage: Stage
    key: HolderKey
    by: str = "requester"

    def shown(self, path: str, token: str | None = None, **changes: Any) -> ShownProof:
        """A proof that is right but for the changes."""
        proofs = self.stage.reveals._checks._proofs
        with self.stage.services.reveal._uses._uow.begin(read_only=True) as tx:  # type: ignore[union-attr]
            now = tx.clock.now()
        jws = proof(
            changes.pop("key", self.key),
            path=changes.pop("signed_path", path),
            now=now,
            nonce=proofs.nonces()[0],
            token=token,
            **changes,
        )
        return ShownProof(jws=jws, method="POST", path=path)

    def token(self, grant: str, **changes: Any) -> str:
        """A disclosure token bound to the key."""
        shown = self.shown(f"/v1/disclosures/{grant}/token", **changes)
        return self.stage.granting.issue(self.stage.caller(self.by), grant, proof=shown).token

    def reveal(self, token: str, *tokens: str, **changes: Any) -> RevealAnswer:
        """Reveal with a proof."""
        return self.present(token, *tokens, shown=self.shown(REVEAL, token, **changes))

    def present(self, token: str, *tokens: str, shown: ShownProof | None) -> RevealAnswer:
        """Reveal with this very proof, or with none."""
        return self.stage.reveals.submit(
            self.stage.caller(self.by),
            disclosure_token=token,
            tokens=tokens,
            fields=None,
            proof=shown,
        )


def refused(call: Callable[[], object]) -> ProofRefused:
    """The refusal that a call ends with."""
    try:
        call()
    except ProofRefused as refusal:
        return refusal
    raise AssertionError("the proof was taken")
