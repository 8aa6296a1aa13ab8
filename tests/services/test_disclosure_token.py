"""Disclosure tokens: what is made is accepted, and everything else is refused by its own code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.errors import Outage, VaultUnavailable
from vault_service.domain.disclosures import Scope
from vault_service.errors import DisclosureRefused, ProofRefused
from vault_service.ledger import canonical
from vault_service.services.disclosure_token import (
    MAX_LENGTH,
    MAX_LIFE,
    DisclosureClaims,
    Grant,
    IssuedToken,
    TokenIssuer,
    TokenKeys,
    TokenVerifier,
    check_times,
)
from vault_service.services.token_claims import INLINE_TOKENS, from_members, to_members

FORMATS = Path(__file__).parents[2] / "docs/formats.md"
VECTORS = Path(__file__).parents[1] / "vectors/wycheproof/json_web_signature_test.json"
NOW = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)
ISSUER = "https://vault.example"
AUDIENCE = "https://vault.example/reveal"
HOLDER = "prn_" + "0" * 26
JTI = "zz" + "0" * 26
GRANT = Grant(
    id="dis_zz" + "1" * 26,
    policy="a" * 64,
    ground="protect_from_harm",
    category="personal_and_account",
    recipient="court",
    uses=1,
    scope=Scope(tokens=("tok_" + "1" * 28, "tok_" + "0" * 28), classes=("telephone",)),
)


class Keyring:
    """A signer that holds its keys here: what Vault's Transit does, with real signatures."""

    def __init__(self, versions: int = 1) -> None:
        self.keys = {version: Ed25519PrivateKey.generate() for version in range(1, versions + 1)}
        self.fetched = 0
        self.signed = 0

    def rotate(self) -> None:
        """Make a newer version."""
        self.keys[max(self.keys) + 1] = Ed25519PrivateKey.generate()

    def sign_many(self, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Sign with the newest version."""
        self.signed += 1
        version = max(self.keys)
        return [(version, self.keys[version].sign(message)) for message in messages]

    def public_keys(self) -> Mapping[int, bytes]:
        """All public keys."""
        self.fetched += 1
        return {version: key.public_key().public_bytes_raw() for version, key in self.keys.items()}


RING = Keyring()
KEYS = TokenKeys(RING)
VERIFIER = TokenVerifier(KEYS)


def _issuer(ring: Keyring = RING, keys: TokenKeys = KEYS) -> TokenIssuer:
    return TokenIssuer(ring, keys, issuer=ISSUER, audience=AUDIENCE)


def _one(issuer: TokenIssuer, grant: Grant, **asked: Any) -> IssuedToken:
    """A token, signed alone."""
    (issued,) = issuer.sign([issuer.claims(grant, **asked)])
    if isinstance(issued, ValueError):
        raise issued
    return issued


def _issue(grant: Grant = GRANT, **changes: Any) -> tuple[str, DisclosureClaims]:
    given_: dict[str, Any] = {
        "holder": HOLDER,
        "jti": JTI,
        "now": NOW,
        "life": timedelta(seconds=300),
        "grant_ends": NOW + timedelta(days=1),
    }
    issued = _one(_issuer(), grant, **given_ | changes)
    return issued.token, issued.claims


def _verify(token: str, verifier: TokenVerifier = VERIFIER, **changes: Any) -> DisclosureClaims:
    asked: dict[str, Any] = {"holder": HOLDER, "audience": AUDIENCE, "issuer": ISSUER}
    now = changes.pop("now", NOW)
    claims = verifier.verify(token, **asked | changes)
    check_times(claims, now)
    return claims


def _refused(token: str, **changes: Any) -> str:
    """The code with which a token is refused, without its common beginning."""
    with pytest.raises(DisclosureRefused) as caught:
        _verify(token, **changes)
    assert caught.value.code.startswith("disclosure_token_")
    # Neither the message nor what it came from may carry the token on.
    assert caught.value.__cause__ is None
    assert len(token) < 20 or token[:20] not in caught.value.detail
    return caught.value.code.removeprefix("disclosure_token_")


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


HEADER = {"alg": "Ed25519", "kid": "disclosure-token:1", "typ": "disclosure+jwt"}


def _members(**changes: Any) -> dict[str, Any]:
    members = {**to_members(_issue()[1]), **changes}
    return {name: value for name, value in members.items() if value != "absent"}


def _details(**changes: Any) -> dict[str, Any]:
    details: dict[str, Any] = {**_members()["authorization_details"][0], **changes}
    kept = {name: value for name, value in details.items() if value != "absent"}
    return _members(authorization_details=[kept])


def _forge(header: object = HEADER, members: object = None, *, raw: bool = False) -> str:
    """A token with a right signature over whatever is given; `raw` takes bytes as they are."""
    if members is None:
        members = _members()
    parts = [
        part if raw and isinstance(part, bytes) else canonical.serialise(part)
        for part in (header, members)
    ]
    signed = f"{_b64(parts[0])}.{_b64(parts[1])}"
    return f"{signed}.{_b64(RING.sign_many([signed.encode()])[0][1])}"


# ---------------------------------------------------------------- what is right


def test_a_fresh_token_verifies_and_agrees_with_its_grant() -> None:
    """What the issuer says is what the verifier reads, and it speaks of its grant."""
    token, claims = _issue()
    assert _verify(token) == claims
    claims.check_grant(GRANT)
    assert claims.issued_at == claims.not_before == NOW.replace(microsecond=0)
    assert claims.expires_at - claims.issued_at == MAX_LIFE
    assert claims.scope.tokens == ("tok_" + "0" * 28, "tok_" + "1" * 28)


def test_the_bytes_of_a_token_are_frozen() -> None:
    """Header and claims have exactly this spelling."""
    header, payload, _ = _issue(replace(GRANT, scope=replace(GRANT.scope, fields=("value",))))[
        0
    ].split(".")
    assert base64.urlsafe_b64decode(header + "==") == (
        b'{"alg":"Ed25519","kid":"disclosure-token:1","typ":"disclosure+jwt"}'
    )
    assert base64.urlsafe_b64decode(payload + "==") == (
        b'{"aud":"https://vault.example/reveal","authorization_details":[{"category":'
        b'"personal_and_account","fields":["value"],"ground":"protect_from_harm","recipient":'
        b'"court","tokens":["tok_' + b"0" * 28 + b'","tok_' + b"1" * 28 + b'"],"type":'
        b'"disclosure","uses":1}],"exp":1795435500,"grant":"dis_zz' + b"1" * 26 + b'","iat":'
        b'1795435200,"iss":"https://vault.example","jti":"zz' + b"0" * 26 + b'","nbf":1795435200,'
        b'"policy":"' + b"a" * 64 + b'","sub":"prn_' + b"0" * 26 + b'"}'
    )


@pytest.mark.parametrize(
    "scope",
    [
        Scope(tokens=("tok_" + "1" * 28,)),
        Scope(tokens=("9100012345674243",)),
        Scope(tokens=tuple(f"tok_{number:028d}" for number in range(INLINE_TOKENS))),
        Scope(tokens=tuple(f"tok_{number:028d}" for number in range(INLINE_TOKENS + 1))),
        Scope(tokens=tuple(f"tok_{number:028d}" for number in range(1000))),
        Scope(customer="cus_" + "0" * 26, classes=("telephone", "business_name")),
        Scope(customer="cus_" + "0" * 26, classes=("postal_address",), fields=("line1", "city")),
    ],
)
def test_every_scope_travels_and_fits_a_header_line(scope: Scope) -> None:
    """Each kind of scope survives the journey, agrees with its grant only, and stays short."""
    grant = replace(GRANT, scope=scope)
    token, claims = _issue(grant)
    assert len(token) < MAX_LENGTH
    assert _verify(token) == claims
    claims.check_grant(grant)
    with pytest.raises(DisclosureRefused):
        claims.check_grant(replace(grant, scope=replace(scope, fields=("number",))))


def test_a_long_scope_is_told_by_its_digest() -> None:
    """More tokens than fit are told by the SHA-256 of the sorted list, whatever its order."""
    tokens = tuple(f"tok_{number:028d}" for number in range(INLINE_TOKENS + 1))
    grant = replace(GRANT, scope=Scope(tokens=tokens[::-1]))
    claims = _issue(grant)[1]
    assert claims.scope.tokens is None
    assert claims.scope.tokens_sha256 == hashlib.sha256("\n".join(tokens).encode()).hexdigest()
    with pytest.raises(DisclosureRefused):
        claims.check_grant(replace(grant, scope=Scope(tokens=tokens[1:])))


def test_a_token_ends_with_its_grant() -> None:
    """Neither the ground's limit, nor five minutes, nor the grant's end is ever passed."""
    assert _issue(life=timedelta(seconds=10))[1].expires_at == datetime(
        2026, 11, 23, 12, 0, 10, tzinfo=UTC
    )
    assert _issue(life=timedelta(days=1))[1].expires_at - NOW < MAX_LIFE
    ends = NOW + timedelta(seconds=7)
    assert _issue(grant_ends=ends)[1].expires_at <= ends
    for gone in (NOW, NOW + timedelta(milliseconds=400), NOW - timedelta(days=1)):
        with pytest.raises(DisclosureRefused) as caught:
            _issue(grant_ends=gone)
        assert caught.value.code == "disclosure_grant_ended"


def test_a_token_does_not_print() -> None:
    """The token is its holder's secret and stays out of messages."""
    issued = _one(
        _issuer(), GRANT, holder=HOLDER, jti=JTI, now=NOW, life=MAX_LIFE, grant_ends=NOW + MAX_LIFE
    )
    assert issued.token not in repr(issued)


def test_a_token_that_is_too_long_is_not_made() -> None:
    """A header line that a proxy would cut is a fault of the settings, told at once."""
    issuer = TokenIssuer(RING, KEYS, issuer="https://" + "x" * 8000, audience=AUDIENCE)
    with pytest.raises(ValueError, match="too long"):
        _one(
            issuer, GRANT, holder=HOLDER, jti=JTI, now=NOW, life=MAX_LIFE, grant_ends=NOW + MAX_LIFE
        )


# ---------------------------------------------------------------- D3: what is wrong


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "EdDSA", "HS256", "ES256", "ed25519", "", 7]
)
def test_d3_another_algorithm_is_refused(alg: object) -> None:
    """There is one algorithm, by its one name; even a right signature does not help another."""
    assert _refused(_forge({**HEADER, "alg": alg})) == "algorithm"


def test_d3_an_unsigned_token_is_refused() -> None:
    """`none` without a signature, and our own algorithm without one."""
    payload = _issue()[0].split(".")[1]
    for alg, code in (("none", "algorithm"), ("Ed25519", "signature")):
        header = _b64(canonical.serialise({**HEADER, "alg": alg}))
        assert _refused(f"{header}.{payload}.") == code


def test_d3_a_mac_with_the_public_key_is_refused() -> None:
    """HS256 with the published key as secret, the classic confusion of algorithms."""
    public = RING.public_keys()[1]
    signed = f"{_b64(canonical.serialise({**HEADER, 'alg': 'HS256'}))}.{_issue()[0].split('.')[1]}"
    mac = hmac.new(public, signed.encode(), hashlib.sha256).digest()
    assert _refused(f"{signed}.{_b64(mac)}") == "algorithm"
    signed = f"{_b64(canonical.serialise(HEADER))}.{_issue()[0].split('.')[1]}"
    mac = hmac.new(public, signed.encode(), hashlib.sha512).digest()
    assert _refused(f"{signed}.{_b64(mac)}") == "signature"


def test_d3_a_key_of_ones_own_is_refused() -> None:
    """A key in the header, or behind an address in it, is never used."""
    own = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _b64(own.public_key().public_bytes_raw())}
    for extra in (
        {"jwk": jwk},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
        {"b64": False},
        {"cty": "JWT"},
        {"nonsense": 1},
    ):
        header = {**HEADER, **extra}
        signed = f"{_b64(canonical.serialise(header))}.{_issue()[0].split('.')[1]}"
        assert _refused(f"{signed}.{_b64(own.sign(signed.encode()))}") == "malformed"
        assert _refused(_forge(header)) == "malformed"
    signed = f"{_b64(canonical.serialise(HEADER))}.{_issue()[0].split('.')[1]}"
    assert _refused(f"{signed}.{_b64(own.sign(signed.encode()))}") == "signature"


@pytest.mark.parametrize("crit", [["exp"], ["b64"], ["unheard-of"], [], None, "exp"])
def test_d3_an_extension_is_refused(crit: object) -> None:
    """Whatever stands in `crit`, also with `b64` false and the payload as it is."""
    assert _refused(_forge({**HEADER, "crit": crit})) == "critical_header"
    assert _refused(_forge({**HEADER, "crit": crit, "b64": False})) == "critical_header"


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "Disclosure+JWT", "", None, 1, "absent"])
def test_d3_another_type_is_refused(typ: object) -> None:
    """A token of another kind that this key signed is no disclosure token."""
    header = {name: value for name, value in {**HEADER, "typ": typ}.items() if value != "absent"}
    assert _refused(_forge(header)) == "type"


@pytest.mark.parametrize(
    "kid",
    [
        "disclosure-token:2", "disclosure-token:0", "disclosure-token:01", "disclosure-token:-1",
        "disclosure-token:1 ", "disclosure-token:", "disclosure-token:9999999999", "ledger:1", "1",
        "", None, 1, ["disclosure-token:1"], "absent",
    ],
)  # fmt: skip
def test_d3_an_unknown_key_is_refused(kid: object) -> None:
    """A version that Vault does not have, another key, or no name of a key at all."""
    header = {name: value for name, value in {**HEADER, "kid": kid}.items() if value != "absent"}
    assert _refused(_forge(header)) == "key_unknown"


def _mangled(token: str) -> Iterator[str]:
    header, payload, signature = token.split(".")
    yield from ("", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "\x00.\x00.\x00", "é.é.é")
    yield f"{token}."
    yield f".{token}"
    yield f"{token}.{signature}"
    yield f"{header}.{signature}"
    for bad in (" ", "\n", "\t", "=", "==", "!", "é", "\x00"):
        yield token + bad
        yield bad + token
        yield f"{header}{bad}.{payload}.{signature}"
        yield f"{header}.{payload[:40]}{bad}{payload[40:]}.{signature}"
    # Standard base64 instead of base64url, and bits that say nothing.
    yield f"{header}.{payload}.{signature[:-4]}++//"
    yield f"{header}.{payload}.{signature[:-4]}-_-/"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    stray = letters[letters.index(signature[-1]) | 1]
    yield f"{header}.{payload}.{signature[:-1]}{stray}"
    yield json.dumps({"payload": payload, "protected": header, "signature": signature})
    yield json.dumps({"payload": payload, "signatures": [{"protected": header}]})
    yield "x" * (MAX_LENGTH + 1)
    yield f"{header}.{payload}.{'A' * MAX_LENGTH}"


def test_d3_another_serialisation_is_refused() -> None:
    """There is one spelling: no JSON form, padding, whitespace, extra part or stray bit."""
    for token in _mangled(_issue()[0]):
        assert _refused(token) == "malformed", token


@pytest.mark.parametrize(
    "raw",
    [
        b'{"alg":"Ed25519","alg":"Ed25519","kid":"disclosure-token:1","typ":"disclosure+jwt"}',
        b'{"alg":"none","alg":"Ed25519","kid":"disclosure-token:1","typ":"disclosure+jwt"}',
        b'{"kid":"disclosure-token:1","alg":"Ed25519","typ":"disclosure+jwt"}',
        b'{"alg":"Ed25519", "kid":"disclosure-token:1","typ":"disclosure+jwt"}',
        b'{"alg":"Ed2551\\u0039","kid":"disclosure-token:1","typ":"disclosure+jwt"}',
        b"[]",
        b'"Ed25519"',
        b"null",
        b"",
        b"\xff",
        b"{" * 3000,
    ],
)
def test_d3_another_spelling_of_the_header_is_refused(raw: bytes) -> None:
    """Duplicate members, another order, spaces or escapes: a header has one spelling."""
    assert _refused(_forge(raw, raw=True)) == "malformed"


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"1", b'"x"', b"null"])
def test_d3_claims_of_another_kind_are_refused(raw: bytes) -> None:
    """Signed JSON that is no object of claims is refused."""
    assert _refused(_forge(HEADER, raw, raw=True)) == "claims"


def test_d3_duplicate_claims_are_refused() -> None:
    """A claim that stands twice is not read either way."""
    raw = canonical.serialise(_members())
    twice = b'{"sub":"prn_' + b"1" * 26 + b'",' + raw[1:]
    assert _refused(_forge(HEADER, twice, raw=True)) == "malformed"


WRONG_CLAIMS: list[dict[str, Any]] = [
    *({name: "absent"} for name in to_members(_issue()[1])),
    {"extra": 1},
    {"iss": 7},
    {"iss": ""},
    {"aud": [AUDIENCE]},
    {"sub": "billing"},
    {"sub": None},
    {"iat": "1795435200"},
    {"iat": True},
    {"iat": -1},
    {"exp": 253_402_300_800},
    {"jti": "0" * 27},
    {"jti": "yy" + "0" * 26},
    {"grant": "dis_" + "0" * 27},
    {"grant": "dis_yy" + "1" * 26},
    {"policy": "A" * 64},
    {"policy": 1},
    {"authorization_details": []},
    {"authorization_details": {}},
    {"authorization_details": ["disclosure"]},
    {"authorization_details": [_members()["authorization_details"][0]] * 2},
    {"cnf": {}},
    {"cnf": {"jkt": "short"}},
    {"cnf": {"jkt": "A" * 43, "jwk": {}}},
    {"cnf": "A" * 43},
    {"cnf": None},
]


@pytest.mark.parametrize("changes", WRONG_CLAIMS)
def test_d3_wrong_claims_are_refused(changes: dict[str, Any]) -> None:
    """A claim that is missing, unknown or not of its form is refused, even when signed."""
    assert _refused(_forge(HEADER, _members(**changes))) == "claims"


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "payment"},
        {"type": "absent"},
        {"ground": "Harm!"},
        {"ground": "absent"},
        {"category": "absent"},
        {"recipient": 1},
        {"uses": 0},
        {"uses": 2**31},
        {"uses": "1"},
        {"uses": True},
        {"tokens": "absent"},
        {"tokens": []},
        {"tokens": "tok_" + "0" * 28},
        {"tokens": [1]},
        {"tokens": ["tok_" + "1" * 28, "tok_" + "0" * 28]},
        {"tokens": ["tok_" + "1" * 28] * 2},
        {"tokens": ["4242424242424242"]},
        {"tokens": [f"tok_{number:028d}" for number in range(INLINE_TOKENS + 1)]},
        {"tokens_sha256": "a" * 64},
        {"tokens": "absent", "tokens_sha256": "a"},
        {"tokens": "absent", "customer": "cus_" + "0" * 26},
        {"tokens": "absent", "classes": ["telephone"]},
        {"tokens": "absent", "customer": "cus_1", "classes": ["telephone"]},
        {"tokens": "absent", "customer": "cus_" + "0" * 26, "classes": ["Tele phone"]},
        {"tokens": "absent", "customer": "cus_" + "0" * 26, "classes": []},
        {"customer": "cus_" + "0" * 26, "classes": ["telephone"]},
        {"fields": []},
        {"fields": ["b", "a"]},
        {"fields": None},
        {"extra": 1},
    ],
)
def test_d3_wrong_details_are_refused(changes: dict[str, Any]) -> None:
    """A scope that is missing, told twice, unsorted or not of its form is refused."""
    assert _refused(_forge(HEADER, _details(**changes))) == "claims"


def test_d3_another_audience_issuer_or_holder_is_refused() -> None:
    """A token for another service, of another service, or of another person."""
    token = _issue()[0]
    assert _refused(token, audience=ISSUER) == "audience"
    assert _refused(token, issuer=AUDIENCE) == "issuer"
    assert _refused(token, holder="prn_" + "1" * 26) == "holder"


START = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("times", "code"),
    [
        ((START, START, START + 300), None),
        ((START, START, START + 1), None),
        ((START - 299, START, START + 1), None),
        ((START, START, START + 301), "claims"),
        ((START - 1_000_000, START, START + 300), "claims"),
        ((START, START, START), "claims"),
        ((START, START, START - 1), "claims"),
        ((START, START - 1, START + 10), "claims"),
        ((START - 300, START - 300, START), "expired"),
        ((START - 600, START - 600, START - 300), "expired"),
        ((START + 1, START + 1, START + 300), "not_yet_valid"),
        ((START, START + 1, START + 300), "not_yet_valid"),
    ],
)
def test_d3_f3_times_are_checked_to_the_second(
    times: tuple[int, int, int], code: str | None
) -> None:
    """Expired, not yet valid, made in the future, or alive for longer than five minutes."""
    iat, nbf, exp = times
    token = _forge(HEADER, _members(iat=iat, nbf=nbf, exp=exp))
    if code is None:
        _verify(token)
    else:
        assert _refused(token) == code


def test_a_token_is_valid_from_its_first_to_before_its_last_instant() -> None:
    """The bounds are exact, and no leeway lengthens a token."""
    token, claims = _issue()
    _verify(token, now=claims.not_before)
    _verify(token, now=claims.expires_at - timedelta(microseconds=1))
    assert _refused(token, now=claims.expires_at) == "expired"
    assert _refused(token, now=claims.not_before - timedelta(microseconds=1)) == "not_yet_valid"


def test_d3_a_bound_token_needs_its_key_proven() -> None:
    """A token bound to a key (cnf) is refused unless possession of that key was proven."""
    thumbprint = "A" * 43
    token, claims = _issue(key_thumbprint=thumbprint)
    assert claims.key_thumbprint == thumbprint
    with pytest.raises(ProofRefused) as missing:
        _verify(token)
    assert missing.value.code == "dpop_proof_missing"
    assert _refused(token, proven_key="B" * 43) == "proof"
    assert _verify(token, proven_key=thumbprint) == claims


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"policy": "b" * 64}, "disclosure_policy_changed"),
        ({"id": "dis_zz" + "2" * 26}, "disclosure_grant_mismatch"),
        ({"ground": "required_by_law"}, "disclosure_grant_mismatch"),
        ({"category": "communication_contents"}, "disclosure_grant_mismatch"),
        ({"recipient": "internal"}, "disclosure_grant_mismatch"),
        ({"uses": 2}, "disclosure_grant_mismatch"),
        ({"scope": Scope(tokens=("tok_" + "0" * 28,))}, "disclosure_grant_mismatch"),
        (
            {"scope": Scope(customer="cus_" + "0" * 26, classes=("telephone",))},
            "disclosure_grant_mismatch",
        ),
        ({"scope": replace(GRANT.scope, fields=("value",))}, "disclosure_grant_mismatch"),
    ],
)
def test_d4_a_token_speaks_of_one_grant_exactly(changes: dict[str, Any], code: str) -> None:
    """A row that was changed after signing no longer agrees with the token."""
    claims = _verify(_issue()[0])
    claims.check_grant(replace(GRANT, scope=replace(GRANT.scope, classes=("anything",))))
    with pytest.raises(DisclosureRefused) as caught:
        claims.check_grant(replace(GRANT, **changes))
    assert caught.value.code == code


def test_d3_every_flipped_bit_is_refused() -> None:
    """No bit of a token, in its text or under its base64, can change without refusal."""
    token = _issue()[0]
    data = token.encode()
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            _refused(bytes(changed).decode("latin-1"))
    parts = [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]
    codes: Counter[str] = Counter()
    for number, part in enumerate(parts):
        for place in range(len(part)):
            for bit in range(8):
                changed = bytearray(part)
                changed[place] ^= 1 << bit
                told = [bytes(changed) if i == number else each for i, each in enumerate(parts)]
                codes[_refused(".".join(map(_b64, told)))] += 1
    assert codes["signature"] > 0
    # Nothing under a flipped bit is ever read as claims.
    assert codes.keys() <= {"signature", "malformed", "algorithm", "type", "key_unknown"}


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_d3_a_truncated_token_is_refused(cut: int) -> None:
    """A token that lost its end, or its beginning, is refused."""
    token = _issue()[0]
    _refused(token[:cut])
    _refused(token[cut + 1 :])


@settings(max_examples=300)
@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,80}(\.[A-Za-z0-9_-]{0,80}){2}"))
def test_f7_reading_is_total(token: str) -> None:
    """Any text at all is refused with a code, and never crashes."""
    _refused(token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(to_members(_issue()[1]))), JSON, st.booleans())
def test_f7_reading_signed_claims_is_total(name: str, value: object, within: bool) -> None:  # noqa: FBT001
    """Any JSON in place of a claim is read as what it says, or refused."""
    try:
        members = _details(**{name: value}) if within else _members(**{name: value})
        token = _forge(HEADER, members)
    except canonical.CanonicalError:
        return
    try:
        claims = _verify(token)
    except DisclosureRefused:
        return
    assert to_members(claims) == members
    assert from_members(to_members(claims)) == claims


# ---------------------------------------------------------------- keys


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.time


def _keys(ring: Keyring) -> tuple[TokenKeys, Clock]:
    clock = Clock()
    return TokenKeys(ring, max_age=300, min_interval=5, clock=clock), clock


def test_unknown_versions_do_not_hammer_vault() -> None:
    """A thousand made-up versions cause one further fetch in five seconds, not a thousand."""
    ring = Keyring()
    keys, clock = _keys(ring)
    assert keys.get(1) is not None
    clock.time += 6
    for version in range(2, 1002):
        assert keys.get(version) is None
    assert ring.fetched == 2
    clock.time += 5
    assert keys.get(7) is None
    assert ring.fetched == 3


def test_the_next_version_is_found_at_once() -> None:
    """A token signed a moment after a rotation is good, however fresh the keys are."""
    ring = Keyring()
    keys, clock = _keys(ring)
    assert keys.get(1) is not None
    clock.time += 0.01
    ring.rotate()
    assert keys.get(2) is not None
    assert keys.get(4) is None
    assert ring.fetched == 2


def test_made_up_next_versions_hold_nobody_up() -> None:
    """They are looked up five times a second; none waits for that, and a new key is found then."""
    ring = Keyring()
    keys, clock = _keys(ring)
    began = time.monotonic()
    for _ in range(100):
        assert keys.get(2) is None
        assert keys.get(1) is not None
        clock.time += 0.01
    assert ring.fetched == 6
    assert time.monotonic() - began < 0.2
    ring.rotate()
    clock.time += 0.2
    assert keys.get(2) is not None
    assert ring.fetched == 7


def test_a_new_version_is_found_and_an_old_one_kept() -> None:
    """After a rotation both versions verify; the new one is fetched when it first appears."""
    ring = Keyring()
    keys, clock = _keys(ring)
    issuer = TokenIssuer(ring, keys, issuer=ISSUER, audience=AUDIENCE)
    asked: dict[str, Any] = {
        "holder": HOLDER,
        "jti": JTI,
        "now": NOW,
        "life": MAX_LIFE,
        "grant_ends": NOW + MAX_LIFE,
    }
    old = _one(issuer, GRANT, **asked).token
    ring.rotate()
    clock.time += 6
    # The issuer still thinks that version 1 is the newest: it signs again under the right name.
    new = _one(issuer, GRANT, **asked).token
    verifier = TokenVerifier(keys)
    for token in (old, new):
        assert _verify(token, verifier).jti == JTI
    assert json.loads(base64.urlsafe_b64decode(new.split(".")[0] + "=="))["kid"].endswith(":2")
    assert ring.signed == 3


def test_a_withdrawn_version_stops_counting() -> None:
    """A version that Vault no longer has is forgotten when the keys have become too old."""
    ring = Keyring(versions=2)
    keys, clock = _keys(ring)
    assert keys.get(1) is not None
    del ring.keys[1]
    assert keys.get(1) is not None
    clock.time += 301
    assert keys.get(1) is None
    assert keys.newest() == 2


class Leaving(Keyring):
    """A keyring that is away when told."""

    away = False

    def public_keys(self) -> Mapping[int, bytes]:
        """All public keys, or nothing."""
        found = super().public_keys()
        if self.away:
            raise VaultUnavailable(reason=Outage.SEALED)
        return found


def test_keys_that_cannot_be_fetched_are_not_refused_but_told() -> None:
    """While the source is away known keys work until too old, and the failure passes through."""
    ring = Leaving()
    keys, clock = _keys(ring)
    assert keys.get(1) is not None
    ring.away = True
    clock.time += 100
    assert keys.get(1) is not None
    errors = []
    for version in (2, 2, 7):
        with pytest.raises(VaultUnavailable) as caught:
            keys.get(version)
        errors.append(caught.value)
    assert {each.reason for each in errors} == {Outage.SEALED}
    assert len({id(each) for each in errors}) == 3
    assert ring.fetched == 2
    clock.time += 201
    for _ in range(3):
        with pytest.raises(VaultUnavailable):
            keys.get(1)
    assert ring.fetched == 3
    ring.away = False
    clock.time += 0.2
    assert keys.get(1) is not None
    assert keys.get(7) is None


def test_no_key_at_all_is_told() -> None:
    """Without a key nothing is signed."""
    ring = Keyring(versions=0)
    keys, _ = _keys(ring)
    with pytest.raises(LookupError, match="no key"):
        keys.newest()


def test_a_key_that_changes_all_the_time_is_a_fault() -> None:
    """Signing gives up when every signature comes from a version newer than the one named."""

    class Restless(Keyring):
        def sign_many(self, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
            self.rotate()
            return super().sign_many(messages)

    ring = Restless()
    keys, _ = _keys(ring)
    issuer = TokenIssuer(ring, keys, issuer=ISSUER, audience=AUDIENCE)
    with pytest.raises(RuntimeError, match="faster"):
        _one(
            issuer, GRANT, holder=HOLDER, jti=JTI, now=NOW, life=MAX_LIFE, grant_ends=NOW + MAX_LIFE
        )


def test_the_published_keys_are_a_jwks() -> None:
    """An independent reader of the key set verifies a token with it."""
    from joserfc import jws
    from joserfc.jwk import KeySet

    ring = Keyring(versions=3)
    keys, _ = _keys(ring)
    published = keys.jwks()
    assert [key["kid"] for key in published["keys"]] == [
        f"disclosure-token:{version}" for version in (1, 2, 3)
    ]
    assert {key["alg"] for key in published["keys"]} == {"Ed25519"}
    issuer = TokenIssuer(ring, keys, issuer=ISSUER, audience=AUDIENCE)
    issued = _one(
        issuer, GRANT, holder=HOLDER, jti=JTI, now=NOW, life=MAX_LIFE, grant_ends=NOW + MAX_LIFE
    )
    keyset = KeySet.import_key_set(json.loads(json.dumps(published)))
    read = jws.deserialize_compact(issued.token, keyset, algorithms=["Ed25519"])
    assert json.loads(read.payload) == to_members(issued.claims)


def test_many_threads_fetch_once() -> None:
    """Threads that find no keys, or not one, at the same moment cause one fetch."""
    import threading

    class Slow(Keyring):
        def public_keys(self) -> Mapping[int, bytes]:
            time.sleep(0.1)  # so that all others wait by then
            return super().public_keys()

    ring = Slow()
    keys, _ = _keys(ring)
    gate = threading.Barrier(8)
    found: list[object] = []

    def look(version: int) -> None:
        gate.wait()
        found.append(keys.get(version))

    for version in (1, 2):
        threads = [threading.Thread(target=look, args=(version,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8 * version
        assert None not in found
        assert ring.fetched == version
        ring.rotate()


# ---------------------------------------------------------------- Wycheproof


def _vectors() -> list[tuple[int, str, str]]:
    groups = json.loads(VECTORS.read_text())["testGroups"]
    return [
        (test["tcId"], test["jws"], test["result"]) for group in groups for test in group["tests"]
    ]


# What becomes of the vectors, by what they are and by the algorithm that their header names; the
# same table stands in docs/formats.md. None is signed with Ed25519, the one algorithm taken here,
# so to refuse the 46 valid ones is the stricter result that is documented.
STATED: dict[tuple[str, str], dict[str, int]] = {
    ("valid", "algorithm"): {
        "ES256": 2, "ES512": 2, "HS256": 3, "PS256": 6, "PS384": 6, "PS512": 4, "RS256": 8,
        "RS384": 4, "RS512": 4,
    },
    ("valid", "malformed"): {"HS256": 7},
    ("invalid", "algorithm"): {
        "ES256": 30, "HS256": 6, "NONE": 1, "PS256": 43, "PS384": 2, "PS512": 7, "RS256": 221,
        "RS384": 1, "RS512": 1, "none": 4,
    },
    ("invalid", "malformed"): {"ES256": 3, "HS256": 18, "RS256": 2, "unreadable": 16},
}  # fmt: skip


def _named(text: str) -> str:
    """The algorithm that a header names, read as leniently as Python can."""
    head = text.split(".", maxsplit=1)[0]
    try:
        return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["alg"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"


def test_b1_wycheproof_jws_agrees_or_is_stricter() -> None:
    """All 401 vectors are refused: the 355 invalid as stated, the 46 valid for the stated reason.

    One that has the compact form in canonical base64url and canonical JSON falls to its algorithm,
    any other to its form.
    """
    found: dict[tuple[str, str], Counter[str]] = {}
    for _, token, result in _vectors():
        text = token if isinstance(token, str) else json.dumps(token)
        found.setdefault((result, _refused(text)), Counter())[_named(text)] += 1
    assert found == STATED
    assert sum(each.total() for each in found.values()) == 401
    page = FORMATS.read_text(encoding="utf-8")
    for (result, code), algorithms in STATED.items():
        assert f"| {result} | `{code}` | {sum(algorithms.values())} |" in page


def test_b1_wycheproof_bodies_under_our_own_name_are_refused() -> None:
    """The same vectors with our header in place of theirs fall to the signature or the form."""
    header = _b64(canonical.serialise(HEADER))
    codes: Counter[str] = Counter()
    for _, token, _ in _vectors():
        _, dot, rest = str(token).partition(".")
        codes[_refused(f"{header}{dot}{rest}")] += 1
    assert codes.total() == 401
    assert codes.keys() <= {"signature", "malformed"}
    assert codes["signature"] > 300
