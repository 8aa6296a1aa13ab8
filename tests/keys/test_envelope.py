"""The envelope opens in its place with its key, and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from keys import aead
from keys.data_keys import DataKey, WrappedKey
from keys.envelope import MAX_VALUE, Context, Envelope, _seal, open_, seal
from keys.errors import CiphertextRejected, DataKeyReused, ValueTooLarge
from keys.secret import Secret
from tests.keys.gcm import keystream, two_key_ciphertext
from tests.keys.support import CONTEXT

VECTORS = Path(__file__).parents[1] / "vectors" / "envelope_v1.json"
WRAPPED = WrappedKey(kek="records-card", kek_version=1, ciphertext="vault:v1:AAAA")


def data_key(raw: bytes | None = None) -> DataKey:
    """A fresh data key."""
    return DataKey(Secret(raw or os.urandom(32)), WRAPPED)


def sealed(plaintext: bytes = b"4242424242424242") -> tuple[Secret, bytes]:
    """A key and an envelope under it."""
    raw = os.urandom(32)
    return Secret(raw), seal(data_key(raw), plaintext, CONTEXT)


def derived(raw: bytes, aad: bytes) -> tuple[bytes, bytes]:
    """The format's derivation, by another implementation: RFC 5869 in three lines."""
    info = b"cv1" + hashlib.sha256(aad).digest()
    extracted = hmac.digest(bytes(64), raw, "sha512")
    okm = hmac.digest(extracted, info + b"\x01", "sha512")
    return okm[:32], okm[32:]


@pytest.mark.parametrize("size", [0, 1, 13, 16, 19, 29, 30, 31, 62, 63, 1000, MAX_VALUE])
def test_a_value_comes_back(size: int) -> None:
    """Sealing and opening are inverse, at every edge of the padding."""
    value = os.urandom(size)
    key, envelope = sealed(value)
    assert open_(key, envelope, CONTEXT) == value


def test_a_value_over_the_limit_is_refused_and_spends_no_key() -> None:
    """The limit is checked before the key is taken."""
    key = data_key()
    with pytest.raises(ValueTooLarge):
        seal(key, bytes(MAX_VALUE + 1), CONTEXT)
    key.take()


def test_card_lengths_do_not_show() -> None:
    """Numbers of 13 to 19 digits make envelopes of one length."""
    assert len({len(sealed(b"4" * digits)[1]) for digits in range(13, 20)}) == 1


def test_layout_is_as_drawn() -> None:
    """Magic, version, suite, nonce, commit, ciphertext, tag, checked by another implementation."""
    raw = bytes(range(32))
    envelope = seal(data_key(raw), b"hello", CONTEXT)
    key, commit = derived(raw, CONTEXT.aad())
    assert envelope[:4] == b"CV\x01\x01"
    assert envelope[16:48] == commit
    padded = AESGCM(key).decrypt(envelope[4:16], envelope[48:], CONTEXT.aad())
    assert padded == b"\x00\x05hello" + bytes(25)


def test_frozen_vectors() -> None:
    """Format v1 never changes: every stored envelope opens, and sealing gives the same bytes."""
    cases = json.loads(VECTORS.read_text("utf-8"))["cases"]
    assert len(cases) == 8
    for case in cases:
        context = Context(**case["context"])
        key, nonce = bytes.fromhex(case["data_key"]), bytes.fromhex(case["nonce"])
        value, envelope = bytes.fromhex(case["value"]), bytes.fromhex(case["envelope"])
        assert context.aad().hex() == case["aad"]
        assert _seal(Secret(key), nonce, value, context) == envelope
        assert open_(Secret(key), envelope, context) == value


def test_b2_every_bit_flip_of_100_envelopes_is_refused() -> None:
    """No single bit of an envelope can change."""
    for digits in range(100):
        key, envelope = sealed(b"4" * (digits % 40))
        for bit in range(len(envelope) * 8):
            flipped = bytearray(envelope)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CiphertextRejected):
                open_(key, bytes(flipped), CONTEXT)


def test_b2_every_truncation_and_extension_of_100_envelopes_is_refused() -> None:
    """No byte can be taken off either end, or added."""
    for digits in range(100):
        key, envelope = sealed(b"4" * (digits % 40))
        cuts = [envelope[:size] for size in range(len(envelope))]
        cuts += [envelope[start:] for start in range(1, len(envelope))]
        cuts += [envelope + bytes(more) for more in (1, 16, 32)]
        for cut in cuts:
            with pytest.raises(CiphertextRejected):
                open_(key, cut, CONTEXT)


def test_b2_swap_matrix_is_refused() -> None:
    """An envelope moved to another row, customer, class, version or key does not open."""
    places = [
        Context(token=token, customer=customer, data_class=data_class, record_version=version)
        for token, customer, data_class, version in itertools.product(
            ("tok_1", "tok_2"), ("cus_1", "cus_2"), ("payment_card", "telephone"), (1, 2)
        )
    ]
    raws = [os.urandom(32) for _ in places]
    rows = [
        (place, raw, seal(data_key(raw), b"value", place))
        for place, raw in zip(places, raws, strict=True)
    ]
    opened = 0
    for (place, _, _), (_, raw, _), (_, _, envelope) in itertools.product(rows, repeat=3):
        try:
            open_(Secret(raw), envelope, place)
        except CiphertextRejected:
            continue
        opened += 1
    assert opened == len(rows)


def test_b2_parts_of_two_envelopes_do_not_mix() -> None:
    """Nonce, commitment and ciphertext of two envelopes under one key cannot be recombined."""
    key = Secret(os.urandom(32))
    first, second = (
        Envelope.parse(_seal(key, os.urandom(12), value, CONTEXT)) for value in (b"one", b"two")
    )
    for field in ("nonce", "sealed"):
        mixed = replace(first, **{field: getattr(second, field)}).serialise()
        with pytest.raises(CiphertextRejected):
            open_(key, mixed, CONTEXT)


def test_b3_a_ciphertext_that_opens_under_two_keys_is_refused() -> None:
    """AES-GCM accepts it under both keys; the envelope under the one it commits to only."""
    aad, nonce = CONTEXT.aad(), os.urandom(12)
    raws = (os.urandom(32), os.urandom(32))
    (key1, commit1), (key2, commit2) = (derived(raw, aad) for raw in raws)
    framed = b"\x00\x1e" + b"chosen by us.."  # a value of 30 bytes, whatever the rest says
    stream = keystream(key1, nonce, 0)
    first = bytes(a ^ b for a, b in zip(framed, stream, strict=True))
    both = two_key_ciphertext((key1, key2), nonce, aad, first)
    opened = [AESGCM(key).decrypt(nonce, both, aad) for key in (key1, key2)]
    assert opened[0] != opened[1]

    honest = Envelope(nonce=nonce, commit=commit1, sealed=both).serialise()
    assert open_(Secret(raws[0]), honest, CONTEXT).startswith(b"chosen by us..")
    for raw, commit in ((raws[1], commit1), (raws[0], commit2)):
        forged = Envelope(nonce=nonce, commit=commit, sealed=both).serialise()
        with pytest.raises(CiphertextRejected):
            open_(Secret(raw), forged, CONTEXT)


def test_b4_a_data_key_seals_one_message() -> None:
    """The second seal with the same key is refused."""
    key = data_key()
    seal(key, b"one", CONTEXT)
    with pytest.raises(DataKeyReused):
        seal(key, b"two", CONTEXT)


@pytest.mark.parametrize(
    "framed",
    [
        b"\x00\x01a" + b"\x01" + bytes(28),  # padding that is not zero
        b"\x00\x01a" + bytes(61),  # a block of padding too many
        b"\x00\x40" + bytes(30),  # a length beyond the end
    ],
)
def test_other_framings_are_refused_though_authentic(framed: bytes) -> None:
    """One value has one envelope form, so nothing hides in the padding."""
    key, nonce = Secret(os.urandom(32)), os.urandom(12)
    commit, ciphertext = aead.encrypt(key, nonce, framed, CONTEXT.aad())
    envelope = Envelope(nonce=nonce, commit=commit, sealed=ciphertext).serialise()
    with pytest.raises(CiphertextRejected):
        open_(key, envelope, CONTEXT)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_parsing_is_total(raw: bytes) -> None:
    """Any bytes are an envelope, which serialises to itself, or are rejected."""
    for candidate in (raw, b"CV\x01\x01" + raw):
        try:
            parsed = Envelope.parse(candidate)
        except CiphertextRejected:
            continue
        assert parsed.serialise() == candidate


def test_parse_and_serialise_are_inverse() -> None:
    """Malleability: an accepted envelope has one byte form."""
    _, envelope = sealed()
    assert Envelope.parse(envelope).serialise() == envelope


def test_an_envelope_longer_than_any_value_is_refused() -> None:
    """The size limit holds when reading too."""
    key, envelope = sealed(bytes(MAX_VALUE))
    with pytest.raises(CiphertextRejected):
        open_(key, envelope[:48] + bytes(32) + envelope[48:], CONTEXT)


def test_all_causes_look_alike() -> None:
    """The error does not tell key, context, format and tag apart."""
    key, envelope = sealed()
    causes = [
        (Secret(os.urandom(32)), envelope, CONTEXT),
        (Secret(b"short"), envelope, CONTEXT),
        (key, envelope, replace(CONTEXT, token="tok_x")),
        (key, b"", CONTEXT),
        (key, envelope[:-1] + bytes([envelope[-1] ^ 1]), CONTEXT),
    ]
    told = set()
    for key_, bytes_, context in causes:
        with pytest.raises(CiphertextRejected) as caught:
            open_(key_, bytes_, context)
        told.add((str(caught.value), caught.value.code))
    assert told == {("ciphertext rejected", "ciphertext_rejected")}


def test_aead_refuses_wrong_lengths_when_sealing() -> None:
    """A key of 32 bytes and a nonce of 12, or nothing."""
    with pytest.raises(ValueError, match="nonce"):
        aead.encrypt(Secret(bytes(32)), bytes(11), b"", b"")
    with pytest.raises(ValueError, match="data key"):
        aead.encrypt(Secret(bytes(31)), bytes(12), b"", b"")


def test_nonces_differ() -> None:
    """Even under one key, which sealing never does, nonces are fresh."""
    assert len({sealed()[1][4:16] for _ in range(1000)}) == 1000


def test_an_envelope_says_nothing_of_its_value() -> None:
    """The value's bytes do not stand in it."""
    canary = secrets.token_bytes(24)
    assert canary not in sealed(canary)[1]
