"""Idempotency-Keys: the same request twice is done once and answered alike.

A key is bound to the body that came with it through a MAC made in Vault, so that what is stored
tells nothing about a card number in the body. The answer is stored in the transaction that does
the work, and holds masks, tokens and errors, never a value.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from keys.fingerprint import Fingerprint
from vault_service.domain import tokens
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, ServiceError
from vault_service.services.idempotency_ports import StoredAnswer
from vault_service.services.views import TokenizeAnswer, TokenView

# The fingerprint class whose key binds bodies.
REQUEST_CLASS: Final = "request"

# Errors that an item can carry, by the name that a stored answer calls them.
_KINDS: Final[Mapping[str, type[ServiceError]]] = {
    kind.__name__: kind for kind in (InvalidInput, NotFound, Conflict, Forbidden)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One Idempotency-Key of one principal, with the MAC of its body.

    `mac` is the MAC key's version as u32, then the digest.
    """

    name: tuple[int, str, str]
    mac: bytes = field(repr=False)

    @classmethod
    def of(cls, principal: str, key: str, fingerprint: Fingerprint) -> Claim:
        """Bind a principal's key to a fingerprinted body.

        The bucket comes from principal and key, not from a customer: two bodies that name two
        customers must meet at the same row.
        """
        bucket = tokens.bucket_of(f"{principal}\n{key}")
        return cls(name=(bucket, principal, key), mac=_mac(fingerprint))

    @property
    def row(self) -> tuple[int, str, str, bytes]:
        """The row to claim."""
        return (*self.name, self.mac)


def bound(body: bytes | None) -> tuple[str, bytes]:
    """What to fingerprint for a body. The digest goes to Vault only; it is not stored."""
    return REQUEST_CLASS, hashlib.sha256(body or b"").digest()


def answer(
    stored: StoredAnswer | None, claim: Claim, candidates: Callable[[], Sequence[Fingerprint]]
) -> TokenizeAnswer | ServiceError:
    """The stored answer to tokenizing, as `response` finds it."""
    found = response(stored, claim, candidates)
    return found if isinstance(found, Conflict) else decode(found)


def response(
    stored: StoredAnswer | None, claim: Claim, candidates: Callable[[], Sequence[Fingerprint]]
) -> bytes | Conflict:
    """The stored answer, if it belongs to this body.

    Args:
        stored: what the key stands for.
        claim: the key with this request's MAC.
        candidates: this body's MACs under every key version, asked for only after a rotation.
    """
    if stored is None or stored.response is None:
        return Conflict(
            "the first request with this key is still under way", code="idempotency_in_progress"
        )
    macs = [claim.mac]
    if stored.request_mac[:4] != claim.mac[:4]:
        macs = [_mac(fingerprint) for fingerprint in candidates()]
    if not any(hmac.compare_digest(stored.request_mac, mac) for mac in macs):
        return Conflict(
            "this key was used with another request body", code="idempotency_key_reused"
        )
    return stored.response


def _mac(fingerprint: Fingerprint) -> bytes:
    return fingerprint.key_version.to_bytes(4, "big") + fingerprint.digest


class _StoredView(msgspec.Struct, tag="view"):
    id: str
    data_class: str
    customer: str
    mask: dict[str, str | int | None]
    format: str
    version: int
    deduplicated: bool
    created_at: datetime
    expires_at: datetime | None
    reference: str | None
    metadata: dict[str, str] | None


class _StoredError(msgspec.Struct, tag="error"):
    kind: str
    code: str
    detail: str
    pointer: str | None
    hint: str | None


_DECODER: Final = msgspec.json.Decoder(list[_StoredView | _StoredError])


def encode(given: TokenizeAnswer) -> bytes:
    """An answer as it is stored."""
    return msgspec.json.encode(
        [
            msgspec.convert(result, _StoredView, from_attributes=True)
            if isinstance(result, TokenView)
            else _StoredError(
                kind=type(result).__name__,
                code=result.code,
                detail=result.detail,
                pointer=result.pointer,
                hint=result.hint,
            )
            for result in given.results
        ]
    )


def decode(stored: bytes) -> TokenizeAnswer:
    """A stored answer, marked as replayed."""
    results: list[TokenView | ServiceError] = []
    for item in _DECODER.decode(stored):
        if isinstance(item, _StoredView):
            results.append(
                TokenView(**{name: getattr(item, name) for name in _StoredView.__struct_fields__})
            )
        else:
            error = _KINDS[item.kind](
                item.detail, code=item.code, pointer=item.pointer, hint=item.hint
            )
            results.append(error)
    return TokenizeAnswer(results=tuple(results), replayed=True)
