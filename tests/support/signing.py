"""Disclosure tokens as an attacker with Vault's signing key would make them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from tests.support.whole import Stage

KEY = "disclosure-token"


def unpacked(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token."""
    header, claims, _ = token.split(".")
    return json.loads(_decoded(header)), json.loads(_decoded(claims))


def signed(stage: Stage, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A token with a signature by Vault's own key over whatever is given."""
    body = f"{_part(header)}.{_part(claims)}"
    with stage.admin() as admin:
        _, signature = admin.sign(KEY, body.encode())
    return f"{body}.{_encoded(signature)}"


def _part(members: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(members, sort_keys=True, separators=(",", ":")).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
