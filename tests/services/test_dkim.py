"""DKIM: who may sign for a domain has signed all of a message, or it counts for nothing."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from vault_service.intake import signatures
from vault_service.intake.signatures import DkimCheck

MESSAGE = (
    b"From: alice@example.com\r\nTo: changes@company.example\r\nSubject: x\r\n\r\nHello\r\nyou\r\n"
)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """A domain's key, made here."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def check(key: rsa.RSAPrivateKey) -> DkimCheck:
    """A check that finds the key where the domain name system would have it."""
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)

    def lookup(name: bytes, timeout: int = 5) -> bytes | None:
        assert timeout
        known = (b"s._domainkey.example.com.", b"s._domainkey.evil.example.")
        return text if name in known else None

    return DkimCheck(lookup)


def signed(key: rsa.RSAPrivateKey, content: bytes = MESSAGE, **how: object) -> bytes:
    """A message with a signature."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    given = {"domain": b"example.com", "include_headers": [b"from", b"subject"], **how}
    return bytes(dkim.sign(content, b"s", given.pop("domain"), pem, **given)) + content


def test_a_signature_of_the_domain_counts(key: rsa.RSAPrivateKey, check: DkimCheck) -> None:
    """For the domain, and for those below it."""
    assert check.signed_for(signed(key), "example.com")
    assert check.signed_for(bytearray(signed(key)), "mail.example.com")
    assert check.signed_for(signed(key, signed(key, domain=b"evil.example")), "example.com")


@pytest.mark.parametrize("domain", ["other.example", "evil.example"])
def test_another_domains_does_not(key: rsa.RSAPrivateKey, check: DkimCheck, domain: str) -> None:
    """However well it holds."""
    assert not check.signed_for(signed(key), domain)


def test_what_is_changed_is_not_signed(key: rsa.RSAPrivateKey, check: DkimCheck) -> None:
    """In body or header; nor what stands behind a part that was signed, nor without a key."""
    good = signed(key)
    assert not check.signed_for(MESSAGE, "example.com")
    assert not check.signed_for(good.replace(b"Hello", b"Hallo"), "example.com")
    assert not check.signed_for(good.replace(b"alice@", b"mallory@"), "example.com")
    assert not check.signed_for(signed(key, length=True) + b"more\r\n", "example.com")
    assert not check.signed_for(signed(key, length=True), "example.com")
    assert not DkimCheck(lambda *_, **__: None).signed_for(good, "example.com")
    assert not check.signed_for(b"DKIM-Signature: d=example.com; v=\r\n" + MESSAGE, "example.com")


def test_what_is_large_is_not_checked(
    key: rsa.RSAPrivateKey, check: DkimCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would copy it several times over; and few signatures are tried."""
    good = signed(key)
    many = b"DKIM-Signature: d=example.com; v=\r\n" * signatures.MOST + good
    assert not check.signed_for(many, "example.com")
    monkeypatch.setattr(signatures, "LARGEST", len(good) - 1)
    assert not check.signed_for(good, "example.com")
