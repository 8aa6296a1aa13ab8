"""Checking Ed25519 signatures. A home of `cryptography`; signing is Vault's alone."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

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
