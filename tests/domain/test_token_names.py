# ruff: noqa: RUF001 -- digits of other scripts are what is tested
"""Names that the vault gives out."""

from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain import brands, tokens
from vault_service.errors import InvalidInput


def seeded(seed: int) -> Callable[[int], bytes]:
    """A repeatable source of bytes."""
    return random.Random(seed).randbytes  # noqa: S311 -- a repeatable test


def zeros(count: int) -> bytes:
    """The poorest source of bytes."""
    return bytes(count)


# --- A4


@pytest.mark.campaign
@pytest.mark.unmeasured
def test_a4_a_million_tokens() -> None:
    """10^6 of each form: no opaque one twice, no card-shaped one Luhn-valid or in an issued range.

    Thousands are looked at in one assert: one for each would take as long as the rest.
    """
    source = seeded(2)
    opaque = {tokens.new_token(n & 1023, token_bytes=source) for n in range(1_000_000)}
    assert len(opaque) == 1_000_000
    for begin in range(0, 1_000_000, 10_000):
        # Every bucket, length and last four.
        asked = [(n % 1024, 13 + n % 7, f"{n % 10_000:04d}") for n in range(begin, begin + 10_000)]
        made = [tokens.new_card_token(*each, token_bytes=source) for each in asked]
        assert not any(map(brands.luhn_valid, made))
        assert set(map(brands.brand_of, made)) == {brands.Brand.UNKNOWN}
        assert [(len(token), token[-4:]) for token in made] == [each[1:] for each in asked]


def test_a4_every_bit_of_a_token_is_drawn() -> None:
    """130 random bits: each of the 26 characters takes all 32 values, and none is favoured."""
    source = seeded(3)
    drawn = [tokens.new_token(0, token_bytes=source)[6:] for _ in range(20_000)]
    for place in range(26):
        counts = [0] * 32
        for text in drawn:
            counts[tokens.ALPHABET.index(text[place])] += 1
        # 625 expected; six standard deviations either way.
        assert min(counts) > 475
        assert max(counts) < 775


def test_a4_card_tokens_keep_out_of_issued_ranges() -> None:
    """No bucket leads to a prefix that a network issues; Troy, Napas and Humo stay clear."""
    for bucket in range(1024):
        prefix = f"9{bucket:04d}"
        assert not any(prefix.startswith(p) or p.startswith(prefix) for p in brands.PREFIXES)


def test_a4_a_card_token_is_drawn_again_until_it_fails_luhn() -> None:
    """When the first draw passes the Luhn check, another is taken."""
    draws = iter(range(100))

    def source(count: int) -> bytes:
        return next(draws).to_bytes(count, "big")

    made = {tokens.new_card_token(7, 16, "4242", token_bytes=source) for _ in range(50)}
    assert len(made) == 50
    assert next(draws) > 50, "some draws were thrown away"
    assert not any(map(brands.luhn_valid, made))


@given(st.integers(0, 1023), st.integers(13, 19), st.integers(0, 9999), st.randoms())
def test_card_tokens_lead_back_to_their_bucket(
    bucket: int, length: int, last: int, chance: random.Random
) -> None:
    """Bucket and form can be read from every card-shaped token."""
    token = tokens.new_card_token(bucket, length, f"{last:04d}", token_bytes=chance.randbytes)
    assert tokens.is_card_token(token)
    assert tokens.bucket_from_token(token) == bucket


@pytest.mark.parametrize(
    ("bucket", "length", "last"),
    [
        (0, 12, "4242"),
        (0, 20, "4242"),
        (0, 16, "424"),
        (0, 16, "42a2"),
        (0, 16, "٤٢٤٢"),
        (1024, 16, "4242"),
        (-1, 16, "4242"),
    ],
)
def test_impossible_card_tokens(bucket: int, length: int, last: str) -> None:
    """A length of no card, a wrong last four or a wrong bucket is a programming error."""
    with pytest.raises(ValueError):  # noqa: PT011 -- any ValueError will do
        tokens.new_card_token(bucket, length, last)


# --- opaque tokens


@given(st.integers(0, 1023))
def test_opaque_tokens_lead_back_to_their_bucket(bucket: int) -> None:
    """The two characters after `tok_` hold the bucket."""
    token = tokens.new_token(bucket)
    assert tokens.bucket_from_token(token) == bucket
    assert not tokens.is_card_token(token)
    assert len(token) == 32


def test_bucket_text_is_big_endian() -> None:
    """Five bits a character, the higher ones first; outside 0 to 1023 there is none."""
    assert [tokens.bucket_text(n) for n in (0, 1, 31, 32, 1023)] == ["00", "01", "0z", "10", "zz"]
    for wrong in (-1, 1024):
        with pytest.raises(ValueError, match="bucket"):
            tokens.bucket_text(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tok_",
        "tok_" + "0" * 27,
        "tok_" + "0" * 29,
        "tok_" + "0" * 27 + "i",
        "tok_" + "0" * 27 + "l",
        "tok_" + "0" * 27 + "o",
        "tok_" + "0" * 27 + "u",
        "TOK_" + "0" * 28,
        "tok_" + "A" * 28,
        "tok_" + "0" * 28 + "\n",
        "tok_" + "٠" * 28,
        "cus_" + "0" * 28,
        "4242424242424242",  # a card number sent by mistake
        "9102400000004242",  # bucket 1024
        "900000000424",  # 12 digits
        "90000000000000042421",  # 20 digits
        "9٠٠٠٠00000004242",
    ],
)
def test_what_is_no_token(text: str) -> None:
    """Everything else is refused with one code, and not repeated."""
    with pytest.raises(InvalidInput) as caught:
        tokens.bucket_from_token(text, pointer="/tokens/0")
    assert (caught.value.code, caught.value.pointer) == ("token_malformed", "/tokens/0")
    assert caught.value.detail == "this is not a token"


def test_digits_that_pass_luhn_are_no_token() -> None:
    """A number in the form of a card token that passes the Luhn check is refused."""
    body = "900420000000424"
    number = next(body + d for d in "0123456789" if brands.luhn_valid(body + d))
    assert not tokens.is_card_token(number)
    with pytest.raises(InvalidInput):
        tokens.bucket_from_token(number)


# --- customers


def test_the_bucket_of_a_customer() -> None:
    """The low ten bits of the first two bytes of SHA-256; it never changes."""
    for name in ("cus_" + "0" * 26, "cus_" + "z" * 26):
        digest = sha256(name.encode()).digest()
        assert tokens.bucket_of(name) == (digest[0] * 256 + digest[1]) % 1024
    assert tokens.bucket_of("cus_00000000000000000000000000") == 228


def test_customers_spread_over_the_buckets() -> None:
    """A hundred thousand random customers fill all buckets evenly."""
    source = seeded(5)
    counts = [0] * 1024
    for _ in range(100_000):
        counts[tokens.bucket_of(tokens.new_customer_id(token_bytes=source))] += 1
    assert min(counts) > 40
    assert max(counts) < 170


def test_a_fingerprint_names_its_customer() -> None:
    """The same digest gives the same name, from its first 130 bits only."""
    digest = bytes(range(32))
    name = tokens.customer_id_from_fingerprint(digest)
    assert name == tokens.customer_id_from_fingerprint(digest[:17])
    assert name == tokens.check_customer_id(name)
    flipped = bytes([digest[0] ^ 0x80]) + digest[1:]
    assert tokens.customer_id_from_fingerprint(flipped) != name
    last_bit_used = digest[:16] + bytes([digest[16] ^ 0x40])
    assert tokens.customer_id_from_fingerprint(last_bit_used) != name
    beyond = digest[:16] + bytes([digest[16] ^ 0x20])
    assert tokens.customer_id_from_fingerprint(beyond) == name
    with pytest.raises(ValueError, match="short"):
        tokens.customer_id_from_fingerprint(bytes(16))


def test_names_from_known_bytes() -> None:
    """The encoding is frozen: these names stand in stored data."""
    assert tokens.new_customer_id(token_bytes=zeros) == "cus_" + "0" * 26
    assert tokens.customer_id_from_fingerprint(b"\xff" * 32) == "cus_" + "z" * 26
    assert tokens.customer_id_from_fingerprint(bytes(range(32))) == "cus_000g40r40m30e209185gr38e1w"


@pytest.mark.parametrize(
    "text", ["", "cus_", "cus_" + "0" * 25, "cus_" + "u" * 26, "tok_" + "0" * 26]
)
def test_what_is_no_customer(text: str) -> None:
    """A wrong name of a customer has its own code."""
    with pytest.raises(InvalidInput) as caught:
        tokens.check_customer_id(text, pointer="/customer")
    assert (caught.value.code, caught.value.pointer) == ("customer_malformed", "/customer")


# --- disclosures, principals, requests


def test_disclosures_have_a_bucket_of_their_own() -> None:
    """The bucket is random, and can be read from the name."""
    source = seeded(6)
    made = [tokens.new_disclosure_id(token_bytes=source) for _ in range(2000)]
    buckets = {tokens.bucket_from_disclosure_id(name) for name in made}
    assert len(set(made)) == 2000
    assert len(buckets) > 800
    with pytest.raises(InvalidInput) as caught:
        tokens.bucket_from_disclosure_id("dis_x", pointer="/id")
    assert (caught.value.code, caught.value.pointer) == ("disclosure_malformed", "/id")


@given(st.integers(0, 1023))
def test_a_jti_leads_to_its_disclosure(bucket: int) -> None:
    """Its first two characters are the bucket of the disclosure."""
    jti = tokens.new_jti(bucket)
    assert tokens.bucket_from_jti(jti) == bucket
    assert len(jti) == 28


def test_what_is_no_jti() -> None:
    """A wrong jti is refused."""
    with pytest.raises(InvalidInput, match="name of a disclosure token"):
        tokens.bucket_from_jti("0" * 27)


def test_principals_and_requests() -> None:
    """Both are a prefix and 26 characters; principals can be checked."""
    name = tokens.new_principal_id()
    assert tokens.check_principal_id(name) == name
    assert tokens.new_request_id().startswith("req_")
    assert len(tokens.new_request_id()) == 30
    with pytest.raises(InvalidInput) as caught:
        tokens.check_principal_id("prn_", pointer="/principal")
    assert caught.value.code == "principal_malformed"


# --- API keys


def test_an_api_key_can_be_parsed_again() -> None:
    """Id and secret come back from the full key; the shown id has another prefix."""
    key = tokens.new_api_key()
    assert tokens.parse_api_key(key.full) == (key.key_id, key.secret.encode())
    assert key.key_id.startswith("key_")
    assert len(key.secret) == 52
    assert key.full == f"vk_{key.key_id[4:]}_{key.secret}"


def test_an_api_key_does_not_show_its_secret() -> None:
    """The repr shows the public id only."""
    key = tokens.new_api_key()
    assert key.secret not in repr(key)
    assert key.key_id in repr(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vk_",
        "vk_" + "0" * 69,
        "vk_" + "0" * 16 + "_" + "0" * 51,
        "sk_" + "0" * 16 + "_" + "0" * 52,
        "vk_" + "0" * 16 + "_" + "0" * 52 + "\n",
    ],
)
def test_what_is_no_api_key(text: str) -> None:
    """Anything else is None, for the caller to answer as it answers a wrong key."""
    assert tokens.parse_api_key(text) is None
