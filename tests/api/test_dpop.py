"""Proofs of possession as the interface takes them, and how it says what is wrong with them."""

from __future__ import annotations

import pytest

from tests.api.conftest import Post
from tests.api.recording import DISCLOSURE, ENTRY, NOW, TOKEN, Recording
from vault_service.errors import ProofRefused
from vault_service.services.dpop import ShownProof
from vault_service.services.views import IssuedDisclosureToken, Receipt, RevealAnswer

ASK = f"/v1/disclosures/{DISCLOSURE}/token"
ALGORITHMS = 'algs="ES256 Ed25519"'


def test_a_proof_reaches_the_use_cases(send: Post, recording: Recording) -> None:
    """With method and path of the request that was made; none where none was shown."""
    for path, body in ((ASK, {}), ("/v1/reveal", {"tokens": [TOKEN]})):
        send("POST", f"{path}", body, headers={"DPoP": "a.b.c", "Disclosure-Token": "x"})
        assert recording.last["proof"] == ShownProof(jws="a.b.c", method="POST", path=path)
        send("POST", path, body, headers={"Disclosure-Token": "x"})
        assert recording.last["proof"] is None


def test_the_next_nonce_is_told(send: Post, recording: Recording) -> None:
    """Where a proof was shown, so that the next call need not be refused first."""
    recording.answers["issue"] = IssuedDisclosureToken(expires_at=NOW, token="x", nonce="next")
    assert send("POST", ASK, {}).headers["DPoP-Nonce"] == "next"
    receipt = Receipt(entry=ENTRY, grant=DISCLOSURE, ground="g", clause="c", at=NOW, values=0)
    recording.answers["submit"] = RevealAnswer(
        results=(), receipt=receipt, package="p", nonce="next"
    )
    answer = send("POST", "/v1/reveal", {"tokens": [TOKEN]}, headers={"Disclosure-Token": "x"})
    assert answer.headers["DPoP-Nonce"] == "next"


@pytest.mark.parametrize(
    ("refusal", "told", "nonce"),
    [
        (
            ProofRefused("x", code="use_dpop_nonce", error="use_dpop_nonce", nonce="n1"),
            f'DPoP error="use_dpop_nonce", {ALGORITHMS}',
            "n1",
        ),
        (
            ProofRefused("x", code="dpop_proof_signature"),
            f'DPoP error="invalid_dpop_proof", {ALGORITHMS}',
            None,
        ),
        (
            ProofRefused("x", code="disclosure_token_proof", error="invalid_token"),
            f'DPoP error="invalid_token", {ALGORITHMS}',
            None,
        ),
    ],
)
def test_a_refusal_speaks_the_words_of_the_rfc(
    send: Post, recording: Recording, refusal: ProofRefused, told: str, nonce: str | None
) -> None:
    """401 with WWW-Authenticate: DPoP, our own code in the body, and the nonce if it lacks one."""
    recording.answers["issue"] = refusal
    answer = send("POST", ASK, {})
    assert answer.status_code == 401
    assert answer.get_json(force=True)["code"] == refusal.code
    assert answer.headers.getlist("WWW-Authenticate") == [told]
    assert answer.headers.get("DPoP-Nonce") == nonce


def test_a_request_may_demand_a_proof(send: Post, recording: Recording) -> None:
    """A switch of the request, off unless said."""
    body = {
        "ground": "g", "category": "c", "tokens": [TOKEN], "recipient": {"kind": "k", "name": "n"},
    }  # fmt: skip
    for more, demanded in (({}, False), ({"proof_of_possession": True}, True)):
        assert send("POST", "/v1/disclosures", body | more).status_code == 201
        assert recording.last["positional"][0].proof_of_possession is demanded
    answer = send("POST", "/v1/disclosures", body | {"proof_of_possession": 1})
    assert answer.status_code == 422
