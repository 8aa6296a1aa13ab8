"""Envelope v1, suite 2: one large message, sealed in chunks and never held as a whole.

    offset  bytes  field
    0       2      "CV"
    2       1      version  0x01
    3       1      suite    0x02  AES-256-GCM in the STREAM manner, HKDF-SHA512 commitment
    4       7      prefix   of every nonce
    11      32     commit
    43      …      chunks, one after the other, at least one:
                       ciphertext, 65,536 bytes; in the last chunk 4,096·n, 1 <= n <= 16
                       tag, 16 bytes

    plaintext = message | 0x80 | zero bytes up to a multiple of 4,096
    AAD       = LP(version, suite, token, customer, class, record version)
    nonce     = prefix | u32 number of the chunk, from 0 | 0x01 in the last chunk, else 0x00

The nonce is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance, CRYPTO 2015). A chunk opens only at its own number, so none can be
left out, repeated or put elsewhere; the last one only as the last, so nothing can be cut off or
added. All chunks share one derived key, which commits to the data key and the place as in suite 1
(keys.aead): two keys never open one message, and chunks of two messages do not mix.

What `open_` hands out is authentic piece by piece, and whole only when it ends without raising:
whoever passes pieces on must be able to say that the rest is missing.

Padding to 4,096 bytes hides the length of short messages. It ends within the last chunk, because
a chunk is a multiple of it, so nothing has to be kept back but one chunk.

Rule for changing: as `keys.envelope` has it; a suite never changes. Parsing is total.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator

from keys import aead
from keys.canonical import lp
from keys.data_keys import DataKey
from keys.envelope import VERSION, Context
from keys.errors import CiphertextRejected, ValueTooLarge
from keys.secret import Secret

SUITE = 2
CHUNK = 64 * 1024
PADDING = 4096
# The largest communication (with its attachments) that mail servers commonly take.
MAX_MESSAGE = 25 * 1024 * 1024
PREFIX_BYTES = 7
SEALED_CHUNK = CHUNK + aead.TAG_BYTES

_MAGIC = bytes((*b"CV", VERSION, SUITE))
_COMMIT_AT = len(_MAGIC) + PREFIX_BYTES
HEADER = _COMMIT_AT + aead.COMMIT_BYTES
_PLACE = struct.Struct(">I?")
_MARK = b"\x80"


def seal(
    data_key: DataKey, message: Iterable[bytes], context: Context, *, limit: int = MAX_MESSAGE
) -> Iterator[bytes]:
    """Seal one message as it comes and spend its data key.

    Args:
        data_key: fresh from the pool.
        message: its bytes in pieces of any size.
        context: where the message belongs.
        limit: most bytes that it may have; at most `MAX_MESSAGE`.

    Returns:
        The header, then each sealed chunk. Worth nothing unless it was read to its end.

    Raises:
        ValueTooLarge: the message is longer; what was sealed before is to be thrown away.
        DataKeyReused: the key sealed something before.
    """
    return _seal(
        data_key.take(), os.urandom(PREFIX_BYTES), message, context, min(limit, MAX_MESSAGE)
    )


def _seal(
    key: Secret, prefix: bytes, message: Iterable[bytes], context: Context, limit: int
) -> Iterator[bytes]:
    cipher = aead.ChunkCipher(key, _aad(context))
    yield _MAGIC + prefix + cipher.commit
    number, held = 0, bytearray()
    for piece in _limited(message, limit):
        held += piece
        # A full chunk is not the last one: at the least, the mark of the padding comes after it.
        while len(held) >= CHUNK:
            yield cipher.seal(_nonce(prefix, number, last=False), bytes(held[:CHUNK]))
            del held[:CHUNK]
            number += 1
    held += _MARK
    held += bytes(-len(held) % PADDING)
    yield cipher.seal(_nonce(prefix, number, last=True), bytes(held))


def _limited(message: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The message in pieces of at most a chunk, so that one huge piece is not copied as a whole."""
    size = 0
    for piece in message:
        size += len(piece)
        if size > limit:
            raise ValueTooLarge(f"a message has at most {limit} bytes")
        for start in range(0, len(piece), CHUNK):
            yield piece[start : start + CHUNK]


def open_(data_key: Secret, sealed: Iterable[bytes], context: Context) -> Iterator[bytes]:
    """Return the message, piece by piece.

    Args:
        data_key: the unwrapped key of this message.
        sealed: what `seal` returned, in pieces of any size.
        context: rebuilt from the row's own columns.

    Returns:
        Authentic pieces of the message; it is whole only when the iterator has ended.

    Raises:
        CiphertextRejected: for any cause, perhaps after authentic pieces; the cause is not told.
    """
    pieces = _Pieces(sealed)
    header = pieces.take(HEADER)
    if len(header) < HEADER or header[: len(_MAGIC)] != _MAGIC:
        raise CiphertextRejected
    prefix, commit = header[len(_MAGIC) : _COMMIT_AT], header[_COMMIT_AT:]
    cipher = aead.ChunkCipher(data_key, _aad(context), expected=commit)
    for number in range(MAX_MESSAGE // CHUNK + 1):
        chunk = pieces.take(SEALED_CHUNK)
        last = pieces.at_end()
        framed = cipher.open(_nonce(prefix, number, last=last), chunk)
        if last:
            yield _unpadded(framed)
            return
        yield framed
    raise CiphertextRejected


def _unpadded(framed: bytes) -> bytes:
    """What stands before the padding of a last chunk; one message has exactly one framing."""
    message = framed.rstrip(b"\x00")
    padding = len(framed) - len(message) + len(_MARK)
    if len(framed) % PADDING or not message.endswith(_MARK) or padding > PADDING:
        raise CiphertextRejected
    return message[: -len(_MARK)]


def _aad(context: Context) -> bytes:
    return lp(
        VERSION,
        SUITE,
        context.token,
        context.customer,
        context.data_class,
        context.record_version,
    )


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + _PLACE.pack(number, last)


class _Pieces:
    """Takes so many bytes at a time from pieces of any size; holds one chunk and one piece."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = bytearray()

    def take(self, size: int) -> bytes:
        """The next `size` bytes; fewer where they end."""
        self._fill(size)
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def at_end(self) -> bool:
        """Whether nothing comes any more."""
        self._fill(1)
        return not self._held

    def _fill(self, size: int) -> None:
        while len(self._held) < size:
            piece = next(self._pieces, None)
            if piece is None:
                return
            self._held += piece
