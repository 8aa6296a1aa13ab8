"""DPoP proofs: the right ones are read, and every other is refused by its own code."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.dpop import (
    ABSENT,
    ISSUER,
    REVEAL,
    HolderKey,
    ath,
    b64,
    holder_key,
    proof,
    refused,
    signed,
)
from vault_service.services.dpop import (
    MAX_AGE,
    MAX_AHEAD,
    MAX_LENGTH,
    Proof,
    ShownProof,
    _signed,
    verify,
)
from vault_service.services.jwk import P256, Use, public_key

VECTORS = Path(__file__).parents[1] / "vectors/wycheproof/json_web_signature_test.json"

NOW = datetime(2026, 11, 25, 12, 0, 0, 500_000, tzinfo=UTC)
NONCES = ["nonce-of-now", "nonce-of-before"]
TOKEN = "header.claims.signature"
KEYS = {name: holder_key(name) for name in ("ES256", "Ed25519")}
KEY = KEYS["ES256"]

# RFC 9449, section 4.2: it has no nonce, which is looked at last but for the time.
RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNo"
    "UklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERW"
    "clUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0"
    "dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-"
    "FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)


def _made(key: HolderKey = KEY, **changes: Any) -> str:
    given: dict[str, Any] = {"now": NOW, "nonce": NONCES[0], "token": TOKEN}
    return proof(key, **given | changes)


def _verify(jws: str, **changes: Any) -> Proof:
    asked: dict[str, Any] = {"base": ISSUER, "now": NOW, "nonces": NONCES, "token": TOKEN}
    asked |= changes
    shown = ShownProof(jws=jws, method=asked.pop("method", "POST"), path=asked.pop("path", REVEAL))
    return verify(shown, **asked)


def _code(jws: str, **changes: Any) -> str:
    refusal = refused(lambda: _verify(jws, **changes))
    assert refusal.__cause__ is None
    assert jws[:30] not in refusal.detail or not jws
    return refusal.code.removeprefix("dpop_proof_")


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_right_proof_is_read(algorithm: str) -> None:
    """Both algorithms; the thumbprint is that of RFC 7638, and the next nonce the newest."""
    key = KEYS[algorithm]
    for nonce in NONCES:
        found = _verify(_made(key, nonce=nonce))
        assert found.thumbprint == key.thumbprint
        assert found.nonce == NONCES[0]
        assert found.issued_at == NOW.replace(microsecond=0)


def test_a_proof_of_the_rfc_is_read() -> None:
    """All of the RFC's example is right but for the nonce that it does not have."""
    refusal = refused(
        lambda: _verify(
            RFC_PROOF,
            base="https://server.example.com",
            path="/token",
            now=datetime.fromtimestamp(1562262616, UTC),
            token=None,
        )
    )
    assert (refusal.code, refusal.error, refusal.nonce) == (
        "use_dpop_nonce", "use_dpop_nonce", NONCES[0],
    )  # fmt: skip


def test_a_proof_does_not_print() -> None:
    """It is of no use to others for long, and still nobody's business."""
    jws = _made()
    assert jws not in repr(ShownProof(jws=jws, method="POST", path=REVEAL))


def test_the_same_jti_of_two_keys_is_two_proofs() -> None:
    """Nobody can use up another's proofs by guessing their names."""
    same = {"jti": "0123456789abcdef"}
    digests = {_verify(_made(key, claims=same)).digest for key in KEYS.values()}
    assert len(digests) == 2
    assert _verify(_made(claims=same)).digest in digests


# ---------------------------------------------------------------- the address


@pytest.mark.parametrize(
    "htu",
    [
        f"{ISSUER}/v1/reveal",
        "HTTPS://VAULT.Example/v1/reveal",
        "https://vault.example:443/v1/reveal",
        "https://vault.example/v1/reveal?a=b",
        "https://vault.example/v1/reveal#part",
        "https://vault.example/%761/re%76eal",
    ],
)
def test_an_address_has_many_spellings(htu: str) -> None:
    """Case, port, query, fragment and needless escapes make no other address."""
    assert _verify(_made(claims={"htu": htu}))


@pytest.mark.parametrize(
    "htu",
    [
        "http://vault.example/v1/reveal",
        "https://vault.example:8443/v1/reveal",
        "https://vault.example/v1/reveal/",
        "https://vault.example/v1//reveal",
        "https://vault.example/V1/reveal",
        "https://vault.example/v1%2Freveal",
        "https://vault.example/v1/x/../reveal",
        "https://vault.example",
        "https://evil.example/v1/reveal",
        "https://vault.example.evil.example/v1/reveal",
        "https://vault.example@evil.example/v1/reveal",
        "https://user@vault.example/v1/reveal",
        "https://vault.example:99999/v1/reveal",
        "https://[::1/v1/reveal",
        "https://vault.example/v1/re\nveal",
        " https://vault.example/v1/reveal",
        "https://vault.exámple/v1/reveal",
        "\ud800",
        "/v1/reveal",
        "v1/reveal",
        "ftp://vault.example/v1/reveal",
        "",
        None,
        7,
        ABSENT,
    ],
)
def test_another_address_is_refused(htu: object) -> None:
    """Another scheme, host, port or path, and what is no address."""
    assert _code(_made(claims={"htu": htu})) == "address"


def test_the_address_is_that_of_the_settings() -> None:
    """A prefix of a proxy belongs to it; a service without an address takes no proof."""
    base = "https://example.com/vault"
    assert _verify(_made(claims={"htu": f"{base}/v1/reveal"}), base=base)
    assert _code(_made(), base=base) == "address"
    for nonsense in ("vault", "", "https://"):
        for htu in ("vault/v1/reveal", "/v1/reveal", "https:///v1/reveal"):
            assert _code(_made(claims={"htu": htu}), base=nonsense) == "address"


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"htm": "GET"}, "method"),
        ({"htm": "post"}, "method"),
        ({"htm": ABSENT}, "method"),
        ({"ath": ath("another.token.here")}, "token"),
        ({"ath": ath(TOKEN) + "="}, "token"),
        ({"ath": "\ud800"}, "token"),
        ({"ath": ABSENT}, "token"),
        ({"ath": None}, "token"),
        ({"iat": ABSENT}, "claims"),
        ({"iat": "1795435200"}, "claims"),
        ({"iat": True}, "claims"),
        ({"iat": None}, "claims"),
        ({"iat": 1e300}, "time"),
        ({"iat": -1}, "time"),
        ({"iat": 10**400}, "time"),
        ({"jti": ABSENT}, "claims"),
        ({"jti": "short"}, "claims"),
        ({"jti": "x" * 257}, "claims"),
        ({"jti": "with a space"}, "claims"),
        ({"jti": "with-\x00-zero"}, "claims"),
        ({"jti": 12345678}, "claims"),
    ],
)
def test_wrong_claims_are_refused(claims: dict[str, Any], code: str) -> None:
    """Each claim that binds the proof to this request, this token and this moment."""
    assert _code(_made(claims=claims)) == code


@pytest.mark.parametrize("nonce", ["another", "", None, 7, ["nonce-of-now"], {}, ABSENT])
def test_another_nonce_is_answered_with_the_newest(nonce: object) -> None:
    """Whoever has none, or an old one, is told which to use."""
    refusal = refused(lambda: _verify(_made(claims={"nonce": nonce})))
    assert (refusal.code, refusal.nonce) == ("use_dpop_nonce", NONCES[0])


def test_a_proof_has_its_time() -> None:
    """By the database's clock: two minutes back, half a minute ahead."""
    for shift in (-MAX_AGE, timedelta(0), MAX_AHEAD):
        at = NOW + shift
        assert _verify(_made(claims={"iat": at.timestamp()}))
    for shift in (-MAX_AGE - timedelta(seconds=1), MAX_AHEAD + timedelta(seconds=1)):
        assert _code(_made(now=NOW + shift)) == "time"


def test_a_proof_for_no_token_and_one_for_a_token_are_two() -> None:
    """Asking for a token takes a proof without `ath`, and none that was made for a reveal."""
    assert _verify(_made(token=None), token=None)
    assert _code(_made(), token=None) == "token"
    assert _code(_made(token=None)) == "token"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"typ": "JWT"}, "type"),
        ({"typ": "DPoP+JWT"}, "type"),
        ({"typ": "disclosure+jwt"}, "type"),
        ({"typ": ABSENT}, "type"),
        ({"alg": "none"}, "algorithm"),
        ({"alg": "HS256"}, "algorithm"),
        ({"alg": "EdDSA"}, "algorithm"),
        ({"alg": "ES384"}, "algorithm"),
        ({"alg": "RS256"}, "algorithm"),
        ({"alg": "es256"}, "algorithm"),
        ({"alg": ["ES256"]}, "algorithm"),
        ({"alg": None}, "algorithm"),
        ({"alg": ABSENT}, "algorithm"),
        ({"alg": "Ed25519"}, "key"),
        ({"crit": ["exp"]}, "critical_header"),
        ({"crit": []}, "critical_header"),
        ({"crit": None}, "critical_header"),
        ({"jwk": ABSENT}, "malformed"),
        ({"kid": "1"}, "malformed"),
        ({"jku": "https://evil.example"}, "malformed"),
        ({"x5c": ["MIIB"]}, "malformed"),
        ({"b64": False}, "malformed"),
        ({"jwk": None}, "key"),
        ({"jwk": []}, "key"),
        ({"jwk": {}}, "key"),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, "key"),
        ({"jwk": {**KEY.jwk, "d": "A" * 43}}, "key_private"),
        ({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "d": ""}}, "key_private"),
        ({"jwk": {**KEY.jwk, "crv": "P-384"}}, "key"),
        ({"jwk": {**KEY.jwk, "crv": ["P-256"]}}, "key"),
        ({"jwk": {**KEY.jwk, "kty": "OKP"}}, "key"),
        ({"jwk": {**KEY.jwk, "x": KEY.jwk["x"][:-1]}}, "key"),
        ({"jwk": {**KEY.jwk, "x": KEY.jwk["x"] + "="}}, "key"),
        ({"jwk": {**KEY.jwk, "x": 7}}, "key"),
        ({"jwk": {**KEY.jwk, "secret": "x"}}, "key"),
        ({"jwk": {**KEYS["Ed25519"].jwk}}, "key"),
        ({"jwk": {**KEY.jwk, "use": "enc"}}, "key"),
        ({"jwk": {**KEY.jwk, "use": None}}, "key"),
        ({"jwk": {**KEY.jwk, "key_ops": ["encrypt"]}}, "key"),
        ({"jwk": {**KEY.jwk, "key_ops": []}}, "key"),
        ({"jwk": {**KEY.jwk, "key_ops": "verify"}}, "key"),
        ({"jwk": {**KEY.jwk, "key_ops": [7]}}, "key"),
        ({"jwk": {**KEY.jwk, "alg": "ES384"}}, "key"),
        ({"jwk": {**KEY.jwk, "x": b64(bytes(32)), "y": b64(bytes(32))}}, "signature"),
        ({"jwk": {**KEY.jwk, "x": KEY.jwk["y"], "y": KEY.jwk["x"]}}, "signature"),
        ({"jwk": {**holder_key().jwk}}, "signature"),
    ],
)
def test_another_header_is_refused(header: dict[str, Any], code: str) -> None:
    """Type, algorithm, extension, key: whatever a verifier must not obey."""
    assert _code(_made(header=header)) == code


def test_a_key_may_say_what_it_is_for() -> None:
    """What does not make the key is let pass, and makes no other thumbprint."""
    jwk = {**KEY.jwk, "kid": "mine", "use": "sig", "alg": "ES256", "key_ops": ["verify"]}
    assert _verify(_made(header={"jwk": jwk})).thumbprint == KEY.thumbprint


def test_a_signature_by_the_wrong_kind_of_key_is_refused() -> None:
    """The key of the one algorithm under the name of the other, both ways, and P-384 for P-256."""
    for mine, other in (("ES256", "Ed25519"), ("Ed25519", "ES256")):
        jws = _made(KEYS[mine], header={"alg": other, "jwk": dict(KEYS[other].jwk)})
        assert _code(jws) == "signature"
    numbers = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": b64(numbers.x.to_bytes(48, "big")),
        "y": b64(numbers.y.to_bytes(48, "big")),
    }
    assert _code(_made(header={"jwk": jwk})) == "key"


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_changed_byte_is_found(algorithm: str) -> None:
    """Whichever character is another: the proof is refused."""
    jws = _made(KEYS[algorithm])
    for place in range(0, len(jws), 7):
        other = "A" if jws[place] != "A" else "B"
        assert refused(
            lambda place=place, other=other: _verify(  # type: ignore[misc]
                jws[:place] + other + jws[place + 1 :]
            )
        )


HEADER = json.dumps({"typ": "dpop+jwt", "alg": "ES256", "jwk": dict(KEY.jwk)}).encode()


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        (b'{"typ":"JWT",' + HEADER[1:], b"{}"),
        (HEADER, b'{"jti":"a","jti":"b"}'),
        (HEADER, b'{"a":{"b":1,"b":2}}'),
        (HEADER, b"[]"),
        (HEADER, b"null"),
        (HEADER, b'{"iat":NaN}'),
        (HEADER, b'{"iat":' + b"1" * 2000 + b"e}"),
        (HEADER, b"\xff"),
        (HEADER, b"[" * 2500),
        (HEADER, b""),
        (b"", b"{}"),
        (b"7", b"{}"),
    ],
)
def test_what_is_no_object_is_refused(header: bytes, claims: bytes) -> None:
    """Repeated members, other JSON, no JSON: refused, whoever signed it."""
    assert _code(signed(KEY, header, claims)) == "malformed"


def test_another_form_is_refused() -> None:
    """Two proofs in one header or two, other serialisations, padding, too long."""
    jws = _made()
    header, claims, signature = jws.split(".")
    for text in (
        "", ".", "..", "a.b", jws + ".", f"{jws},{jws}", f"{jws}, {jws}", jws + "=", f" {jws}",
        f"{header}=.{claims}.{signature}", json.dumps({"payload": claims}), "é.é.é",
        f"{header}.{claims}.{'A' * MAX_LENGTH}",
    ):  # fmt: skip
        assert _code(text) == "malformed", text
    for short in (f"{header}.{claims}.", f"{header}.{claims}.{signature[:-2]}"):
        assert _code(short) == "signature"


def test_b1_wycheproof_es256_gives_the_stated_result() -> None:
    """Each of the 41 vectors of P-256: the valid ones are read, and no other."""
    found: Counter[tuple[str, bool]] = Counter()
    for group in json.loads(VECTORS.read_text())["testGroups"]:
        if group.get("public", {}).get("crv") != "P-256":
            continue
        for vector in group["tests"]:
            try:
                key = public_key(group["public"], {P256}, use=Use.SIGNATURE)
                read = _signed(vector["jws"], key, "ES256")
            except ValueError:
                read = False
            found[vector["result"], read] += 1
            # As a proof none is right: they are of another type.
            assert _code(vector["jws"]) in {"type", "malformed"}
    assert found == {("valid", True): 2, ("invalid", False): 39}
