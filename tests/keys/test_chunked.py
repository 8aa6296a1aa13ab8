"""A message sealed in chunks opens in its place, whole and in order, and in no other way."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from keys import aead, chunked
from keys.chunked import CHUNK, HEADER, MAX_MESSAGE, PADDING, SEALED_CHUNK, _seal, open_, seal
from keys.data_keys import DataKey, WrappedKey
from keys.envelope import Context
from keys.errors import CiphertextRejected, DataKeyReused, ValueTooLarge
from keys.secret import Secret
from tests.keys.support import CONTEXT

VECTORS = Path(__file__).parents[1] / "vectors" / "chunked_v1.json"
WRAPPED = WrappedKey(kek="evidence", kek_version=1, ciphertext="vault:v1:AAAA")
EDGES = (0, 1, PADDING - 1, PADDING, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17)


def pattern(size: int) -> bytes:
    """Bytes that differ from chunk to chunk, the same in every run."""
    return b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(size // 32 + 1))[:size]


def sealed(message: bytes) -> tuple[Secret, bytes]:
    """A key and a sealed message under it."""
    raw = os.urandom(32)
    return Secret(raw), b"".join(seal(DataKey(Secret(raw), WRAPPED), [message], CONTEXT))


def opened(key: Secret, whole: bytes, context: Context = CONTEXT) -> bytes:
    """The message, or a refusal."""
    return b"".join(open_(key, [whole], context))


def parts(whole: bytes) -> tuple[bytes, list[bytes]]:
    """Header and chunks."""
    body = whole[HEADER:]
    return whole[:HEADER], [
        body[at : at + SEALED_CHUNK] for at in range(0, len(body), SEALED_CHUNK)
    ]


def refused(key: Secret, whole: bytes, context: Context = CONTEXT) -> None:
    """Assert that it does not open."""
    with pytest.raises(CiphertextRejected):
        opened(key, whole, context)


def rechunk(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """The data in pieces of these sizes, the rest in one."""
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@pytest.mark.parametrize("size", EDGES)
def test_a_message_comes_back(size: int) -> None:
    """Sealing and opening are inverse, at every edge of chunk and padding."""
    message = pattern(size)
    key, whole = sealed(message)
    assert opened(key, whole) == message
    assert len(whole) == HEADER + (size // PADDING + 1) * PADDING + 16 * (size // CHUNK + 1)


@pytest.mark.parametrize("size", [0, 5, CHUNK, 2 * CHUNK + 5])
def test_pieces_of_any_size_do_not_matter(size: int) -> None:
    """The same bytes come out however the message and the sealed bytes are cut."""
    message, raw, prefix = pattern(size), bytes(32), bytes(7)
    whole = b"".join(_seal(Secret(raw), prefix, [message], CONTEXT, MAX_MESSAGE))
    for sizes in ([1, 2, 3], [0, 0, CHUNK], [CHUNK + 1] * 2, [7] * 50):
        again = b"".join(_seal(Secret(raw), prefix, rechunk(message, sizes), CONTEXT, MAX_MESSAGE))
        assert again == whole
        assert b"".join(open_(Secret(raw), rechunk(whole, sizes), CONTEXT)) == message


def test_layout_is_as_drawn() -> None:
    """Checked by another implementation: RFC 5869 in three lines, and AES-GCM chunk by chunk."""
    raw, message = bytes(range(32)), pattern(CHUNK + 100)
    header, chunks = parts(b"".join(seal(DataKey(Secret(raw), WRAPPED), [message], CONTEXT)))
    aad = chunked._aad(CONTEXT)
    info = b"cv1" + hashlib.sha256(aad).digest()
    okm = hmac.digest(hmac.digest(bytes(64), raw, "sha512"), info + b"\x01", "sha512")
    assert header[:4] == b"CV\x01\x02"
    assert header[11:] == okm[32:]
    nonces = [header[4:11] + b"\x00\x00\x00\x00\x00", header[4:11] + b"\x00\x00\x00\x01\x01"]
    padded = b"".join(
        AESGCM(okm[:32]).decrypt(nonce, chunk, aad)
        for nonce, chunk in zip(nonces, chunks, strict=True)
    )
    assert padded == message + b"\x80" + bytes(PADDING - 101)


def test_frozen_vectors() -> None:
    """The format never changes: every stored message opens, and sealing gives the same bytes."""
    cases = json.loads(VECTORS.read_text("utf-8"))["cases"]
    assert len(cases) == 6
    for case in cases:
        context = Context(**case["context"])
        key, prefix = Secret(bytes.fromhex(case["data_key"])), bytes.fromhex(case["prefix"])
        message = pattern(case["size"])
        whole = b"".join(_seal(key, prefix, [message], context, MAX_MESSAGE))
        assert whole[:HEADER].hex() == case["header"]
        assert hashlib.sha256(whole).hexdigest() == case["sealed_sha256"]
        assert opened(key, whole, context) == message


def test_every_bit_of_the_header_and_a_bit_of_every_byte_counts() -> None:
    """No bit of the header, and no byte of any chunk, can change."""
    key, whole = sealed(b"an order")
    for bit in range(HEADER * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(key, bytes(flipped))
    for at in range(HEADER, len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        refused(key, bytes(flipped))


def test_every_flip_at_the_edges_of_chunks_is_refused() -> None:
    """First and last byte of each chunk and tag, of a message of several chunks."""
    key, whole = sealed(pattern(2 * CHUNK + 9))
    _, chunks = parts(whole)
    starts = [HEADER + n * SEALED_CHUNK for n in range(len(chunks))]
    for at in [*starts, *(start - 1 for start in starts[1:]), len(whole) - 1]:
        flipped = bytearray(whole)
        flipped[at] ^= 1
        refused(key, bytes(flipped))


def test_every_truncation_of_a_short_message_is_refused() -> None:
    """No byte can be taken off the end, or added."""
    key, whole = sealed(b"an order")
    for size in range(len(whole)):
        refused(key, whole[:size])
    for more in (b"\x00", bytes(16), bytes(PADDING), bytes(SEALED_CHUNK), whole[HEADER:]):
        refused(key, whole + more)


def test_cuts_between_chunks_are_refused() -> None:
    """A message that ends with a chunk that is not the last one is no message."""
    key, whole = sealed(pattern(3 * CHUNK))
    header, chunks = parts(whole)
    for count in range(len(chunks)):
        refused(key, header + b"".join(chunks[:count]))
        refused(key, header + b"".join(chunks[count + 1 :]))


def test_chunks_in_another_order_are_refused() -> None:
    """Of all orders, repetitions and omissions of four chunks only the true one opens."""
    message = pattern(3 * CHUNK + 40)
    key, whole = sealed(message)
    header, chunks = parts(whole)
    right = 0
    for length in (3, 4):
        for order in itertools.product(range(4), repeat=length):
            try:
                right += opened(key, header + b"".join(chunks[n] for n in order)) == message
            except CiphertextRejected:
                continue
    assert right == 1


def test_chunks_of_another_message_are_refused() -> None:
    """Under another key, under the same key with another prefix, and in another place."""
    raw, message = os.urandom(32), pattern(2 * CHUNK)
    header, chunks = parts(b"".join(_seal(Secret(raw), b"1" * 7, [message], CONTEXT, MAX_MESSAGE)))
    elsewhere = structs.replace(CONTEXT, token="tok_other")
    for key, prefix, context in (
        (Secret(os.urandom(32)), b"1" * 7, CONTEXT),
        (Secret(raw), b"2" * 7, CONTEXT),
        (Secret(raw), b"1" * 7, elsewhere),
    ):
        _, others = parts(b"".join(_seal(key, prefix, [message], context, MAX_MESSAGE)))
        for at in range(len(chunks)):
            mixed = [*chunks[:at], others[at], *chunks[at + 1 :]]
            refused(Secret(raw), header + b"".join(mixed))


@pytest.mark.parametrize("field", ["token", "customer", "data_class", "record_version"])
def test_another_place_is_refused(field: str) -> None:
    """A message moved to another row, customer, class or version does not open."""
    key, whole = sealed(b"an order")
    refused(
        key, whole, structs.replace(CONTEXT, **{field: 7 if field == "record_version" else "other"})
    )


def test_the_commitment_is_asked_before_any_chunk() -> None:
    """A header with the commitment of another key is refused though its chunks are authentic."""
    key, whole = sealed(b"an order")
    _, other = sealed(b"an order")
    refused(key, other[:HEADER] + whole[HEADER:])
    refused(key, whole[:11] + other[11:HEADER] + whole[HEADER:])


def test_suites_do_not_mix() -> None:
    """The suite is part of the place: what one suite sealed is nothing under the other."""
    key, whole = sealed(b"an order")
    refused(key, whole[:3] + b"\x01" + whole[4:])


@pytest.mark.parametrize(
    "framed",
    [
        bytes(PADDING),  # no mark
        b"message" + bytes(PADDING - 7),  # no mark, but a message
        b"\x80" + bytes(2 * PADDING - 1),  # a block of padding too many
        b"\x80" + bytes(10),  # not a multiple
        b"",  # nothing
    ],
)
def test_other_framings_are_refused_though_authentic(framed: bytes) -> None:
    """One message has one form, so nothing hides in the padding."""
    key, prefix = Secret(os.urandom(32)), os.urandom(7)
    cipher = aead.ChunkCipher(key, chunked._aad(CONTEXT))
    header = b"CV\x01\x02" + prefix + cipher.commit
    refused(key, header + cipher.seal(prefix + b"\x00\x00\x00\x00\x01", framed))


def test_a_message_over_the_limit_is_refused() -> None:
    """Over the caller's limit, or over the format's, which no caller can raise, sealing stops."""
    for size, limit in ((11, 10), (MAX_MESSAGE + 1, 2 * MAX_MESSAGE)):
        key = DataKey(Secret(os.urandom(32)), WRAPPED)
        with pytest.raises(ValueTooLarge):
            list(seal(key, (bytes(piece) for piece in (size - 1, 1)), CONTEXT, limit=limit))


def test_the_largest_message_passes_in_constant_memory() -> None:
    """25 MiB go through both ways while a few chunks are held, and one byte more is refused."""
    raw, digest = os.urandom(32), hashlib.sha256()
    piece = pattern(CHUNK)
    message = itertools.repeat(piece, MAX_MESSAGE // CHUNK)
    tracemalloc.start()
    try:
        whole = seal(DataKey(Secret(raw), WRAPPED), message, CONTEXT)
        for part in open_(Secret(raw), whole, CONTEXT):
            digest.update(part)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert digest.digest() == hashlib.sha256(piece * (MAX_MESSAGE // CHUNK)).digest()
    assert peak < 12 * CHUNK


def test_more_chunks_than_the_largest_message_has_are_refused() -> None:
    """Reading has the limit of writing, whoever wrote it."""
    key, prefix = Secret(os.urandom(32)), bytes(7)
    whole = _seal(key, prefix, itertools.repeat(bytes(CHUNK), 402), CONTEXT, 2 * MAX_MESSAGE)
    with pytest.raises(CiphertextRejected):
        for _ in open_(key, whole, CONTEXT):
            pass


def test_a_data_key_seals_one_message() -> None:
    """The second seal with the same key is refused, even when the first was never read."""
    key = DataKey(Secret(os.urandom(32)), WRAPPED)
    seal(key, [b"one"], CONTEXT)
    with pytest.raises(DataKeyReused):
        seal(key, [b"two"], CONTEXT)


def test_a_key_of_another_length_is_refused() -> None:
    """When sealing it is a mistake, when opening a ciphertext that is not ours."""
    _, whole = sealed(b"an order")
    refused(Secret(b"short"), whole)
    with pytest.raises(ValueError, match="data key"):
        aead.ChunkCipher(Secret(b"short"), b"")


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_parsing_is_total(raw: bytes) -> None:
    """Any bytes are a message of ours or are rejected."""
    key = Secret(bytes(32))
    for candidate in (raw, b"CV\x01\x02" + raw, b"CV\x01\x02" + bytes(39) + raw):
        refused(key, candidate)
