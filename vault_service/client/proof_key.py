"""A key pair in a file, which proves possession (DPoP, RFC 9449). Needs joserfc.

The file holds one private JWK and nothing else; it is for its owner's eyes alone. Imported only by
those who use it, so that the rest of the SDK needs no cryptography.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from vault_service.client.errors import ClientError

ALGORITHMS: Final = ("ES256", "Ed25519")
_CURVES: Final[Mapping[tuple[object, object], str]] = {
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "Ed25519",
}


class ProofKeyInvalid(ClientError):
    """This is no private key that proofs are made with."""

    code = "proof_key_invalid"


class ProofKey:
    """A private key that makes proofs. Shows nothing of itself but its thumbprint."""

    def __init__(self, key: ECKey | OKPKey, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        members = key.as_dict(private=False)
        self._algorithm = _CURVES[members["kty"], members["crv"]]
        self._public = {name: members[name] for name in ("kty", "crv", "x", "y") if name in members}
        self._clock = clock

    @classmethod
    def generate(cls, algorithm: str = "ES256") -> Self:
        """A fresh key.

        Raises:
            ProofKeyInvalid: there is no such algorithm.
        """
        if algorithm == "ES256":
            return cls(ECKey.generate_key("P-256"))
        if algorithm == "Ed25519":
            return cls(OKPKey.generate_key("Ed25519"))
        raise ProofKeyInvalid(f"proofs are made with {' or '.join(ALGORITHMS)}")

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """The key of a file's content, as `private_jwk` gives it.

        Raises:
            ProofKeyInvalid: it is no such key.
        """
        try:
            members = json.loads(text)
            kind = (members.get("kty"), members.get("crv"))
            if kind not in _CURVES or "d" not in members:
                raise ValueError  # noqa: TRY301 -- told like all else that is no key
            kept = {
                name: members[name] for name in ("kty", "crv", "x", "y", "d") if name in members
            }
            return cls((ECKey if kind[0] == "EC" else OKPKey).import_key(kept))
        except (JoseError, ValueError, AttributeError, TypeError, KeyError):
            # The cause is not chained: it may quote the key.
            raise ProofKeyInvalid(
                "this is no private key of P-256 or Ed25519, as one JWK"
            ) from None

    def __repr__(self) -> str:
        return f"ProofKey({self.thumbprint!r})"

    @property
    def thumbprint(self) -> str:
        """By which a token names the key (RFC 7638)."""
        text = json.dumps(self._public, sort_keys=True, separators=(",", ":"))
        return _digest(text)

    def private_jwk(self) -> str:
        """The whole key, for a file that nobody else may read."""
        return json.dumps(self._key.as_dict(private=True), sort_keys=True)

    def proof(
        self, *, method: str, url: str, nonce: str | None = None, token: str | None = None
    ) -> str:
        """A fresh proof for one request; see `proofs.ProofMaker`."""
        header: dict[str, Any] = {"typ": "dpop+jwt", "alg": self._algorithm, "jwk": self._public}
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(self._clock()),
        }
        if nonce is not None:
            claims["nonce"] = nonce
        if token is not None:
            claims["ath"] = _digest(token)
        return jws.serialize_compact(
            header, json.dumps(claims), self._key, algorithms=[self._algorithm]
        )


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
