"""What the service expects of Transit, whoever serves it.

Runs against the embedded OpenBao by default, and with `--vault-addr` and `--vault-token-file`
against a server of one's own, HashiCorp Vault included. Each test is one expectation that the
package builds on; a server that fails one is not supported.
"""

from __future__ import annotations

import base64
import hmac
import os

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from keys.errors import CiphertextRejected, KeyNotReady, VaultRefused
from keys.inventory import check
from keys.secret import Secret
from keys.signature import verify_ed25519
from tests.keys.support import World


def test_wrapped_keys_come_back(world: World) -> None:
    """Encrypt and decrypt are inverse, in order, over several requests."""
    raws = [os.urandom(32) for _ in range(490)]
    texts = world.role("ingest").encrypt("records-card", [Secret(raw) for raw in raws])
    assert len(set(texts)) == 490
    assert all(text.startswith("vault:v1:") for text in texts)
    results = world.role("reveal").decrypt("records-card", texts)
    for raw, result in zip(raws, results, strict=True):
        assert isinstance(result, Secret)
        assert result.equals(raw)


def test_nothing_in_nothing_out(world: World) -> None:
    """An empty batch asks nobody."""
    assert world.role("ingest").encrypt("records-card", []) == []
    assert world.role("reveal").decrypt("records-card", []) == []


def test_a_bad_item_is_refused_alone(world: World) -> None:
    """Fact 2: with partial_failure_response_code the good items come under status 200."""
    reveal = world.role("reveal")
    (good,) = world.role("ingest").encrypt("records-card", [Secret(b"k" * 32)])
    (foreign,) = world.role("ingest").encrypt("records-contact", [Secret(b"k" * 32)])
    flipped = good[:-4] + ("A" if good[-4] != "A" else "B") + good[-3:]
    bad = [foreign, flipped, "vault:v9:" + good[9:], "vault:v1:AAAA", "", "text"]
    results = reveal.decrypt("records-card", [good, *bad, good])
    assert [isinstance(result, Secret) for result in results] == [True, *[False] * 6, True]
    assert all(
        isinstance(result, CiphertextRejected) for result in reveal.decrypt("records-card", bad)
    )


def test_rewrap_gives_results_per_item(world: World) -> None:
    """Fact 3."""
    (good,) = world.role("ingest").encrypt("evidence", [Secret(b"k" * 32)])
    rewrapped, refused = world.role("rotate").rewrap("evidence", [good, "vault:v1:AAAA"])
    assert isinstance(rewrapped, str)
    assert isinstance(refused, CiphertextRejected)
    (opened,) = world.role("review").decrypt("evidence", [rewrapped])
    assert isinstance(opened, Secret)
    assert opened.equals(b"k" * 32)


def test_hmac_is_deterministic_and_versioned(world: World) -> None:
    """Fact 6: batch hmac; the version asked for is the version used."""
    ingest, key = world.role("ingest"), "fingerprint-contact-name"
    first, other, again = ingest.hmac(key, [b"a", b"b", b"a"])
    assert first == again != other
    assert (len(first.digest), first.key_version) == (32, 1)
    world.admin.rotate(key)
    (newer,) = ingest.hmac(key, [b"a"])
    assert newer.key_version == 2
    assert newer.digest != first.digest
    assert ingest.hmac(key, [b"a"], key_version=1) == [first]
    for absent in (3, 99):
        with pytest.raises(VaultRefused):
            ingest.hmac(key, [b"a"], key_version=absent)
    world.admin.configure(key, min_encryption_version=2)
    with pytest.raises(VaultRefused):
        ingest.hmac(key, [b"a"], key_version=1)


def test_b1_hmac_is_hmac_sha256(world: World) -> None:
    """A key that is brought along gives the digest of every other implementation."""
    raw, message = os.urandom(32), b"fp1"
    status, answer = world.request("GET", "wrapping_key")
    assert status == 200, answer
    public = serialization.load_pem_public_key(answer["data"]["public_key"].encode())
    assert isinstance(public, rsa.RSAPublicKey)
    ephemeral = os.urandom(32)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    wrapped = public.encrypt(ephemeral, oaep) + keywrap.aes_key_wrap_with_padding(ephemeral, raw)
    text = base64.b64encode(wrapped).decode()
    body: dict[str, object] = {"type": "hmac", "ciphertext": text}
    status, answer = world.request("POST", "keys/brought/import", body)
    assert status in (200, 204), answer
    (mac,) = world.admin.hmac("brought", [message])
    assert hmac.compare_digest(mac.digest, hmac.digest(raw, message, "sha256"))


def test_signatures_verify_with_the_published_key(world: World) -> None:
    """Ed25519, raw 64 bytes, by version, old versions still published after a rotation."""
    for role, key in (("sign-token", "disclosure-token"), ("sign-ledger", "ledger")):
        signer = world.role(role)
        version, signature = signer.sign(key, b"message")
        assert (version, len(signature)) == (1, 64)
        if role == "sign-token":
            many = signer.sign_many(key, [b"message", b"another"])
            assert (many[0], many[1][0]) == ((1, signature), 1)
        world.admin.rotate(key)
        newer, second = signer.sign(key, b"message")
        public = signer.public_keys(key)
        assert sorted(public) == [1, 2]
        assert newer == 2
        assert verify_ed25519(public[1], b"message", signature) == b"message"
        assert verify_ed25519(public[2], b"message", second) == b"message"


def test_unknown_keys_are_not_made(world: World) -> None:
    """With upsert disabled a mistyped name is an error, even for an administrator."""
    with pytest.raises(KeyNotReady):
        world.admin.encrypt("records-crad", [Secret(b"k" * 32)])
    with pytest.raises(KeyNotReady):
        world.admin.decrypt("records-crad", ["vault:v1:AAAA"])
    with pytest.raises(KeyNotReady):
        world.admin.read_key("records-crad")


def test_key_settings_are_told(world: World) -> None:
    """Type, versions and limits; the times of versions where the key's type has them."""
    info = world.role("rotate").read_key("records-communication")
    assert (info.name, info.type) == ("records-communication", "aes256-gcm96")
    assert (info.latest_version, info.min_decryption_version) == (1, 1)
    settings = (info.exportable, info.allow_plaintext_backup, info.deletion_allowed)
    assert settings == (False, False, False)
    assert list(info.created) == [1]
    assert list(world.admin.read_key("ledger").created)[:1] == [1]


def test_minimum_versions_may_be_equal(world: World) -> None:
    """Fact 6: hvac's own call refuses this, the server does not."""
    key = "records-account"
    world.admin.rotate(key)
    world.role("rotate").configure(key, min_encryption_version=2, min_decryption_version=2)
    info = world.admin.read_key(key)
    assert (info.min_encryption_version, info.min_decryption_version) == (2, 2)
    world.role("rotate").trim(key, 2)
    assert world.admin.read_key(key).min_available_version == 2


def test_every_role_is_ready_and_the_inventory_holds(world: World) -> None:
    """All roles log in with a wrapped secret-id; inspect sees a Vault in line."""
    for role in world.inventory.roles:
        world.role(role).ready()
    assert check(world.inventory, world.role("inspect")) == []
