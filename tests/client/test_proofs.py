"""The SDK's proofs of possession: the service reads them, and nothing shows the key."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.dpop import ath
from tests.support.small_service import KEY, Says, Seen, SmallService, problem, small_service
from vault_service.client import ApiError, Client
from vault_service.client.proof_key import ALGORITHMS, ProofKey, ProofKeyInvalid
from vault_service.services.dpop import ShownProof, verify

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RECEIPT = {
    "entry": "e", "grant": "dis_1", "ground": "g", "clause": "c", "at": "2026-11-25T12:00:00Z",
    "values": 0,
}  # fmt: skip
TOKEN = {"token": "a.b.c", "expires_at": "2026-11-25T12:05:00Z"}


@pytest.fixture
def service() -> Iterator[SmallService]:
    """A small server."""
    with small_service() as running:
        yield running


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_service_reads_what_the_key_makes(algorithm: str) -> None:
    """With a token and without, also after a journey through a file."""
    made = ProofKey.generate(algorithm)
    key = ProofKey.parse(made.private_jwk().encode())
    key._clock = NOW.timestamp
    assert key.thumbprint == made.thumbprint
    for token in (None, "a.b.c"):
        jws = key.proof(
            method="POST", url="https://vault.example/v1/reveal", nonce="n", token=token
        )
        shown = ShownProof(jws=jws, method="POST", path="/v1/reveal")
        proof = verify(shown, base="https://vault.example", now=NOW, nonces=["n"], token=token)
        assert proof.thumbprint == key.thumbprint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{}",
        '{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}',
        '{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}',
        '{"kty":["EC"],"crv":"P-256","d":"AA"}',
        '{"kty":"EC","crv":"P-384","x":"AA","y":"AA","d":"AA"}',
        '{"kty":"OKP","crv":"X25519","x":"AA","d":"AA"}',
        '{"kty":"OKP","crv":"Ed25519","d":7}',
        "\xff",
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    """Public keys, other curves, other files; the message holds nothing of them."""
    with pytest.raises(ProofKeyInvalid) as caught:
        ProofKey.parse(text)
    assert caught.value.__cause__ is None
    assert caught.value.detail == "this is no private key of P-256 or Ed25519, as one JWK"


def test_another_algorithm_is_refused() -> None:
    """There are two."""
    with pytest.raises(ProofKeyInvalid):
        ProofKey.generate("RS256")


def test_a_key_does_not_print() -> None:
    """Neither itself nor what it proved."""
    key = ProofKey.generate()
    assert json.loads(key.private_jwk())["d"] not in repr(key)


def _claims(seen: Seen) -> dict[str, Any]:
    payload = seen.headers["DPoP"].split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * 3))
    return claims


def test_a_nonce_is_asked_for_once_and_then_kept(service: SmallService) -> None:
    """The first call learns it; an answer brings the next, whatever a proxy makes of its name."""
    service.scripts += [
        lambda _: problem(401, "use_dpop_nonce", headers={"DPoP-Nonce": "first"}),
        lambda _: Says(201, TOKEN, headers={"dpop-nonce": "second"}),
        lambda _: Says(200, {"results": [], "receipt": RECEIPT}),
        lambda _: Says(201, TOKEN),
    ]
    key = ProofKey.generate()
    with Client(service.base_url, key=KEY) as client:
        token = client.disclosures.token("dis_1", proof_key=key).token
        client.reveal(token, ["tok_1"], proof_key=key)
        client.disclosures.token("dis_1")
    first, again, reveal, plain = service.seen
    assert "nonce" not in _claims(first)
    assert (_claims(again)["nonce"], _claims(reveal)["nonce"]) == ("first", "second")
    assert _claims(first)["jti"] != _claims(again)["jti"]
    assert _claims(again)["htu"] == f"{service.base_url}/v1/disclosures/dis_1/token"
    assert "ath" not in _claims(again)
    assert _claims(reveal)["ath"] == ath(token)
    assert "DPoP" not in plain.headers


def test_a_refusal_is_not_asked_about_again(service: SmallService) -> None:
    """Neither a wrong proof, nor a second demand for a nonce, nor one that brings none."""
    nonce = {"DPoP-Nonce": "n"}
    for scripts, times in (
        ([problem(401, "dpop_proof_address")], 1),
        ([problem(401, "use_dpop_nonce", headers=nonce)] * 2, 2),
        ([problem(401, "use_dpop_nonce")], 1),
    ):
        service.seen.clear()
        service.scripts += [lambda _, said=said: said for said in scripts]  # type: ignore[misc]
        with Client(service.base_url, key=KEY) as client, pytest.raises(ApiError) as caught:
            client.disclosures.token("dis_1", proof_key=ProofKey.generate())
        assert caught.value.status == 401
        assert len(service.seen) == times
