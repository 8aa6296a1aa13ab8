"""A person's own signing key."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from keys.errors import SignatureRejected
from keys.signature import SigningKey, verify_ed25519


def pem(key: Ed25519PrivateKey, how: KeySerializationEncryption | None = None) -> bytes:
    """The key as a file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())


def test_what_it_signs_is_verified_with_its_public_key() -> None:
    """Signing and checking agree."""
    key = SigningKey.read(pem(Ed25519PrivateKey.generate()))
    assert verify_ed25519(key.public_key, b"text", key.sign(b"text")) == b"text"
    with pytest.raises(SignatureRejected):
        verify_ed25519(key.public_key, b"other", key.sign(b"text"))


def test_other_keys_are_refused() -> None:
    """Only an Ed25519 key without a passphrase is taken."""
    curve = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    locked = pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"word"))
    for wrong in (b"", b"text", curve, locked):
        with pytest.raises(SignatureRejected):
            SigningKey.read(wrong)
