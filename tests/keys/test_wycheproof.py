"""B1: Project Wycheproof agrees with the primitives that this package builds on.

Each loader asserts how many cases it found, so that a moved or emptied file cannot pass.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keys.errors import SignatureRejected
from keys.signature import verify_ed25519

FOLDER = Path(__file__).parents[1] / "vectors" / "wycheproof"
Case = tuple[dict[str, Any], dict[str, Any]]


def cases(name: str, expected: int) -> list[Case]:
    """All cases of a file, each with its group; exactly so many."""
    content = json.loads((FOLDER / f"{name}_test.json").read_text("utf-8"))
    found = [(group, case) for group in content["testGroups"] for case in group["tests"]]
    assert len(found) == expected == content["numberOfTests"]
    return found


def raw(case: dict[str, Any], *names: str) -> Iterator[bytes]:
    """Fields of a case as bytes."""
    return (bytes.fromhex(case[name]) for name in names)


def test_b1_aes_256_gcm() -> None:
    """Every case with our parameters: 256-bit key, 96-bit nonce, 128-bit tag."""
    counted = {"valid": 0, "invalid": 0}
    for group, case in cases("aes_gcm", 316):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        key, nonce, aad, message, body, tag = raw(case, "key", "iv", "aad", "msg", "ct", "tag")
        cipher = AESGCM(key)
        counted[case["result"]] += 1
        if case["result"] == "valid":
            assert cipher.encrypt(nonce, message, aad) == body + tag
            assert cipher.decrypt(nonce, body + tag, aad) == message
        else:
            with pytest.raises(InvalidTag):
                cipher.decrypt(nonce, body + tag, aad)
    assert counted == {"valid": 39, "invalid": 27}


@pytest.mark.parametrize(
    ("name", "digest", "expected"),
    [("hkdf_sha256", hashes.SHA256(), 86), ("hkdf_sha512", hashes.SHA512(), 83)],
)
def test_b1_hkdf(name: str, digest: hashes.HashAlgorithm, expected: int) -> None:
    """The published output, and sizes over 255 blocks refused."""

    def derive(case: dict[str, Any]) -> bytes:
        ikm, salt, info = raw(case, "ikm", "salt", "info")
        return HKDF(algorithm=digest, length=case["size"], salt=salt, info=info).derive(ikm)

    for _, case in cases(name, expected):
        if case["result"] == "valid":
            assert derive(case).hex() == case["okm"]
        else:
            with pytest.raises(ValueError, match="larger than"):
                derive(case)


def test_b1_hmac_sha256() -> None:
    """The library's HMAC gives the published tags, and no others."""
    for group, case in cases("hmac_sha256", 174):
        key, message, tag = raw(case, "key", "msg", "tag")
        made = hmac.digest(key, message, "sha256")[: group["tagSize"] // 8]
        assert hmac.compare_digest(made, tag) == (case["result"] == "valid")


def test_b1_ed25519() -> None:
    """Every valid signature verifies and every other one is rejected."""
    for group, case in cases("ed25519", 151):
        (public,) = raw(group["publicKey"], "pk")
        message, signature = raw(case, "msg", "sig")
        if case["result"] == "valid":
            assert verify_ed25519(public, message, signature) == message
        else:
            with pytest.raises(SignatureRejected):
                verify_ed25519(public, message, signature)


def test_a_malformed_public_key_is_a_rejected_signature() -> None:
    """A key of a wrong length is no other error."""
    with pytest.raises(SignatureRejected):
        verify_ed25519(b"short", b"m", bytes(64))
