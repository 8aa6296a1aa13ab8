"""Public keys of recipients, and packages that only their holders open. A home of `joserfc`.

A key is a JWK (RFC 7517) of X25519 (RFC 8037) or P-256 (RFC 7518), told by its thumbprint
(RFC 7638). A package is a JWE in compact form (RFC 7516):

    protected = {"alg":"ECDH-ES+A256KW","enc":"A256GCM","typ":"disclosure-package+jwe",
                 "cty":"application/json","kid":thumbprint,"grant":"dis_…","entry":UUID,"epk":…}

The key that it is agreed with is made for each package and forgotten, so nothing that this service
or its caller keeps opens it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey, OKPKey

from vault_service.errors import InvalidInput
from vault_service.services.jwk import P256, X25519, NotPublic, Use, public_key

ALGORITHM: Final = "ECDH-ES+A256KW"
ENCRYPTION: Final = "A256GCM"
TYPE: Final = "disclosure-package+jwe"

_CURVES: Final = frozenset((X25519, P256))
# `grant` and `entry` are ours; the library refuses what it does not know otherwise.
_REGISTRY: Final = JWERegistry(algorithms=[ALGORITHM, ENCRYPTION], strict_check_header=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientKey:
    """A public key that values can be sealed for.

    Attributes:
        jwk: its required members in canonical JSON, as the thumbprint hashes them.
        thumbprint: SHA-256 of `jwk` in base64url (RFC 7638).
    """

    jwk: str
    thumbprint: str

    def seal(self, plaintext: bytes, *, grant: str, entry: str) -> str:
        """A package of these bytes for the key's holder.

        Args:
            plaintext: what only he reads.
            grant: the grant that allows it.
            entry: the ledger entry that tells of it.
        """
        header = {
            "alg": ALGORITHM,
            "enc": ENCRYPTION,
            "typ": TYPE,
            "cty": "application/json",
            "kid": self.thumbprint,
            "grant": grant,
            "entry": entry,
        }
        members = json.loads(self.jwk)
        key = OKPKey.import_key(members) if "y" not in members else ECKey.import_key(members)
        return jwe.encrypt_compact(header, plaintext, key, registry=_REGISTRY)


def parse(members: Mapping[str, object], *, pointer: str = "/public_key") -> RecipientKey:
    """The key that these members of a JWK are.

    Raises:
        InvalidInput: `public_key_private`: it holds a private part, which nobody else may have;
            `public_key_invalid`: it is not of these two kinds, or no point of the curve that a
            secret can be agreed with.
    """
    try:
        key = public_key(members, _CURVES, use=Use.ENCRYPTION)
        found = RecipientKey(jwk=key.jwk, thumbprint=key.thumbprint)
        # Agreeing with a point of small order fails, and so does a point beside the curve.
        found.seal(b"{}", grant="", entry="")
    except NotPublic:
        raise InvalidInput(
            "this holds a private key; send the public part only, and make a new key",
            code="public_key_private",
            pointer=pointer,
        ) from None
    except (JoseError, ValueError):
        raise _invalid(pointer) from None
    return found


def stored(jwk: str) -> RecipientKey:
    """The key of a row, its thumbprint reckoned anew from what is there.

    Raises:
        InvalidInput: somebody changed the row.
    """
    try:
        members = json.loads(jwk)
    except ValueError:
        raise _invalid(None) from None
    if not isinstance(members, dict):
        raise _invalid(None)
    return parse(members)


def _invalid(pointer: str | None) -> InvalidInput:
    return InvalidInput(
        "this is no public key of X25519 or P-256",
        code="public_key_invalid",
        pointer=pointer,
        hint='a JWK such as {"kty":"OKP","crv":"X25519","x":"…"}',
    )
