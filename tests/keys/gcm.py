"""Makes AES-GCM ciphertexts that open under two keys (Dodis, Grubbs, Ristenpart, Woodage 2018).

The tag is affine in any one ciphertext block, so choosing one block makes the tags under two
keys equal. It needs only the block cipher, which is why GCM alone cannot say with which key a
message was sealed.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_R = 0xE1 << 120


def _multiply(x: int, y: int) -> int:
    """Product in GCM's field, bits numbered from the left (NIST SP 800-38D, 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if (x >> bit) & 1:
            product ^= y
        y = (y >> 1) ^ _R if y & 1 else y >> 1
    return product


def _power(x: int, exponent: int) -> int:
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = _multiply(result, x)
        x = _multiply(x, x)
        exponent >>= 1
    return result


def _encrypt_block(key: bytes, block: bytes) -> bytes:
    # ECB of a single block is the bare block cipher, from which GCM is built.
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(block)


def _blocks(data: bytes) -> list[int]:
    data += bytes(-len(data) % 16)
    return [int.from_bytes(data[at : at + 16], "big") for at in range(0, len(data), 16)]


def _mask_and_hash_key(key: bytes, nonce: bytes) -> tuple[int, int]:
    mask = _encrypt_block(key, nonce + b"\x00\x00\x00\x01")
    return int.from_bytes(mask, "big"), int.from_bytes(_encrypt_block(key, bytes(16)), "big")


def keystream(key: bytes, nonce: bytes, block: int) -> bytes:
    """The keystream of a message block, counted from 0."""
    return _encrypt_block(key, nonce + (block + 2).to_bytes(4, "big"))


def two_key_ciphertext(
    keys: tuple[bytes, bytes], nonce: bytes, aad: bytes, first_block: bytes
) -> bytes:
    """Two ciphertext blocks, the first one given, and a tag that both keys accept."""
    lengths = (len(aad) * 8 << 64) | 256
    total = 0
    coefficient = 0
    for key in keys:
        mask, hash_key = _mask_and_hash_key(key, nonce)
        known = [*_blocks(aad), *_blocks(first_block), 0, lengths]
        for place, block in enumerate(known):
            total ^= _multiply(block, _power(hash_key, len(known) - place))
        total ^= mask
        coefficient ^= _power(hash_key, 2)  # the free block is the second from the end
    free = _multiply(total, _power(coefficient, 2**128 - 2))
    mask, hash_key = _mask_and_hash_key(keys[0], nonce)
    tag = mask
    message = [*_blocks(aad), *_blocks(first_block), free, lengths]
    for place, block in enumerate(message):
        tag ^= _multiply(block, _power(hash_key, len(message) - place))
    return first_block + free.to_bytes(16, "big") + tag.to_bytes(16, "big")
