"""Recipients with keys of their own, whose packages are opened by `jwcrypto`.

That is an implementation of JOSE which the service does not use.
"""

from __future__ import annotations

import json
from typing import Any

from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK

from tests.support.whole import Stage
from vault_service.services.recipients import RecipientDraft, RecipientView

KINDS = {"X25519": {"kty": "OKP", "crv": "X25519"}, "P-256": {"kty": "EC", "crv": "P-256"}}


def new_key(curve: str = "X25519") -> JWK:
    """A key pair."""
    return JWK.generate(**KINDS[curve])


def public(key: JWK) -> dict[str, Any]:
    """The public part, as its holder sends it."""
    members: dict[str, Any] = json.loads(key.export_public())
    return members


def recipient_draft(**changes: Any) -> RecipientDraft:
    """Somebody who may be handed data."""
    plain = {
        "kind": "counterparty",
        "name": "Counsel of the harmed",
        "verified": "called back at the number in the register",
        "contact": "counsel@example.com",
    }
    return RecipientDraft(**(plain | changes))


def record(stage: Stage, key: JWK | None = None, *, by: str = "officer-1") -> RecipientView:
    """A recipient on record."""
    return stage.recipients.create(
        stage.caller(by), recipient_draft(public_key=None if key is None else public(key))
    )


def opened(package: str, key: JWK) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and contents of a package."""
    jwe = JWE()
    jwe.deserialize(package, key=key)
    return json.loads(jwe.objects["protected"]), json.loads(jwe.payload)
