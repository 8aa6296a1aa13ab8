"""Ed25519 signatures: checking them, and signing with a person's own key.

A home of `cryptography`. Whatever the service signs, Vault signs; `SigningKey` is for an auditor
who puts his name under a report, on his own machine.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keys.errors import SignatureRejected


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bytes:
    """Return the message if the signature is right (RFC 8032).

    Args:
        public_key: 32 raw bytes.
        message: what was signed.
        signature: 64 raw bytes.

    Raises:
        SignatureRejected: the signature, or the key, is wrong or malformed.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureRejected("signature rejected") from error
    return message


class SigningKey:
    """A person's Ed25519 key. Does not print and does not pickle what it holds."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    @classmethod
    def read(cls, pem: bytes) -> SigningKey:
        """The key of a PEM file (PKCS #8, no passphrase).

        Raises:
            SignatureRejected: it is none, or of another kind.
        """
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SignatureRejected("this is not a private key") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SignatureRejected("this is not an Ed25519 key")
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes (RFC 8032)."""
        return self._key.sign(message)
