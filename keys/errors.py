"""The one tree of errors of this package; each has a stable `code`.

No message holds a value, a key, a token or anything a server said: messages travel into logs and
answers, and what a Vault server says about a failed batch can contain plaintext data keys.
"""

from __future__ import annotations

from enum import StrEnum


class Outage(StrEnum):
    """Why Vault could not serve; each is a metric label and a line of the fault table."""

    SEALED = "sealed"
    UNREACHABLE = "unreachable"
    SLOW = "slow"
    REDIRECTED = "redirected"
    FAILING = "failing"
    LIMITED = "limited"
    UNREADABLE = "unreadable"
    BREAKER_OPEN = "breaker_open"
    NO_SECRET_ID = "no_secret_id"  # noqa: S105  # a reason, not a password
    OVERLOADED = "overloaded"


class KeysError(Exception):
    """Whatever this package refuses or cannot do."""

    code: str = "keys_error"


class VaultUnavailable(KeysError):
    """Vault cannot serve now: sealed, unreachable, slow, redirecting, or its audit log fails.

    Attributes:
        reason: which of these it was.
        retry_after: seconds after which another try makes sense.
    """

    code = "vault_unavailable"

    def __init__(
        self,
        message: str = "vault is unavailable",
        *,
        reason: Outage = Outage.UNREACHABLE,
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class VaultDenied(KeysError):
    """Vault refused this role the operation, after one fresh login where the token had died."""

    code = "vault_denied"


class VaultRefused(KeysError):
    """Vault understood the request and refused it: a wrong state, or a mistake of ours."""

    code = "vault_refused"


class SecretIdMissing(VaultUnavailable):
    """The spool holds no usable secret-id; recovers by itself when the spool is refilled."""

    code = "secret_id_missing"

    def __init__(self, message: str = "no usable secret-id in the spool") -> None:
        super().__init__(message, reason=Outage.NO_SECRET_ID, retry_after=5.0)


class SecretIdIntercepted(VaultDenied):
    """A wrapped secret-id had been unwrapped, or wrapped anew, by somebody else: an alarm."""

    code = "secret_id_intercepted"


class CiphertextRejected(KeysError):
    """The bytes are not ours, or not for this place. One error for all causes: no oracle."""

    code = "ciphertext_rejected"

    def __init__(self, message: str = "ciphertext rejected") -> None:
        super().__init__(message)


class SignatureRejected(KeysError):
    """A signature does not belong to this message and public key."""

    code = "signature_rejected"


class DataKeyReused(KeysError):
    """A data key was asked for a second time; it seals exactly one message."""

    code = "data_key_reused"


class ValueTooLarge(KeysError):
    """The value is longer than the envelope format carries."""

    code = "value_too_large"


class KeyNotReady(KeysError):
    """A key is missing in Vault or differs from the inventory."""

    code = "key_not_ready"


class InventoryInvalid(KeysError):
    """The inventory file contradicts itself or cannot be read."""

    code = "inventory_invalid"
