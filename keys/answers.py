"""What Vault answers: typed shapes, and the meaning of its refusals.

Reading is strict: an answer of another shape is `VaultUnavailable(unreadable)`, never a
KeyError later. What a server says in words is looked at here and passed on nowhere, because it
can repeat what was sent to it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from keys.errors import KeyNotReady, KeysError, Outage, VaultRefused, VaultUnavailable
from keys.link import Reply

A = TypeVar("A")


class Item(msgspec.Struct):
    """One result of a batch; Transit fills the field of its operation, or `error`."""

    ciphertext: str = ""
    plaintext: str = ""
    hmac: str = ""
    signature: str = ""
    error: str = ""

    def __repr__(self) -> str:
        return "Item(hidden)"


class BatchResults(msgspec.Struct):
    """The results in the order of the request."""

    batch_results: list[Item]


class BatchAnswer(msgspec.Struct):
    """The answer to a batch."""

    data: BatchResults


class Signature(msgspec.Struct):
    """`vault:v<version>:<base64>`."""

    signature: str


class SignatureAnswer(msgspec.Struct):
    """The answer to sign."""

    data: Signature


class KeyData(msgspec.Struct):
    """Settings of a Transit key. `keys` holds times for symmetric keys, objects for others."""

    name: str
    type: str
    latest_version: int
    min_decryption_version: int
    min_encryption_version: int
    exportable: bool
    allow_plaintext_backup: bool
    deletion_allowed: bool
    min_available_version: int = 0
    derived: bool = False
    imported_key: bool = False
    keys: dict[str, Any] = msgspec.field(default_factory=dict)


class KeyAnswer(msgspec.Struct):
    """The answer to read key."""

    data: KeyData


class UpsertData(msgspec.Struct):
    """The mount's key settings."""

    disable_upsert: bool


class UpsertAnswer(msgspec.Struct):
    """The answer to read config/keys."""

    data: UpsertData


class Auth(msgspec.Struct):
    """A token and the seconds it lives."""

    client_token: str
    lease_duration: int
    renewable: bool = False

    def __repr__(self) -> str:
        return "Auth(hidden)"


class AuthAnswer(msgspec.Struct):
    """The answer to a login or a renewal."""

    auth: Auth


class WrapInfo(msgspec.Struct):
    """A wrapping token."""

    token: str
    creation_path: str

    def __repr__(self) -> str:
        return "WrapInfo(hidden)"


class WrapAnswer(msgspec.Struct):
    """The answer to anything that was asked to be wrapped."""

    wrap_info: WrapInfo


class WrapLookup(msgspec.Struct):
    """Where a wrapping token came from."""

    creation_path: str


class WrapLookupAnswer(msgspec.Struct):
    """The answer to a wrapping lookup."""

    data: WrapLookup


class SecretId(msgspec.Struct):
    """An unwrapped secret-id."""

    secret_id: str

    def __repr__(self) -> str:
        return "SecretId(hidden)"


class SecretIdAnswer(msgspec.Struct):
    """The answer to unwrapping a secret-id."""

    data: SecretId


class _Errors(msgspec.Struct):
    errors: list[str] = msgspec.field(default_factory=list)


class Forbidden(KeysError):
    """403, which is an expired token or a denied path alike (fact 9). Stays in this package."""

    code = "vault_denied"


class NotThere(KeyNotReady):
    """404: no such key, or no such mount."""


def decode(reply: Reply, shape: type[A]) -> A:
    """Return the body of `reply` as `shape`; an empty one is an empty object.

    Raises:
        VaultUnavailable: it is something else.
    """
    try:
        return msgspec.json.decode(reply.body or b"{}", type=shape)
    except (msgspec.DecodeError, RecursionError):
        pass
    raise VaultUnavailable("vault answered in a wrong form", reason=Outage.UNREADABLE)


def read(reply: Reply, shape: type[A]) -> A:
    """Return the content of a successful answer, or of a batch whose every item failed.

    Raises:
        Forbidden: 403.
        NotThere: 404.
        KeyNotReady: the key does not exist.
        VaultRefused: any other 4xx about the request itself.
        VaultUnavailable: Vault cannot serve now.
    """
    if reply.status in (200, 204):
        return decode(reply, shape)
    if reply.status == 400 and shape is BatchAnswer:
        # Asked for 200 on partial failure, Vault still says 400 where every item fails; the
        # results are there all the same. There is no plaintext among them then.
        try:
            return decode(reply, shape)
        except VaultUnavailable:
            pass  # not a batch result: an error about the whole request
    raise _refusal(reply)


def _refusal(reply: Reply) -> KeysError:
    match reply.status:
        case 403:
            error: KeysError = Forbidden("vault denied the operation")
        case 404:
            error = NotThere("no such key or mount in vault")
        case 413 | 429:
            error = VaultUnavailable("vault limits requests", reason=Outage.LIMITED)
        case 503:
            error = VaultUnavailable("vault is sealed", reason=Outage.SEALED, retry_after=5.0)
        case status if status >= 500:
            # Fact 10: with full audit devices every request ends here while health stays 200.
            error = VaultUnavailable("vault failed", reason=Outage.FAILING, retry_after=2.0)
        case _:
            error = _refusal_in_words(reply)
    return error


def _refusal_in_words(reply: Reply) -> KeysError:
    said = " ".join(_said(reply)).lower()
    if "json" in said and ("complexity" in said or "limit" in said or "exceed" in said):
        # Fact 5; our batches of 200 stay below the default limit, a stricter server's may not.
        return VaultUnavailable("vault limits the size of requests", reason=Outage.LIMITED)
    if "key not found" in said:
        return KeyNotReady("no such key in vault")
    return VaultRefused(f"vault refused the request with status {reply.status}")


def _said(reply: Reply) -> list[str]:
    try:
        return decode(reply, _Errors).errors
    except VaultUnavailable:
        return []
