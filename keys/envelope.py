"""Envelope, wire format v1: one sealed value.

    offset  bytes  field
    0       2      "CV"
    2       1      version  0x01
    3       1      suite    0x01  AES-256-GCM with HKDF-SHA512 commitment (keys.aead)
    4       12     nonce
    16      32     commit
    48      32·n   ciphertext, n >= 1
    …       16     tag

    plaintext = u16 length | value | zero bytes up to a multiple of 32
    AAD       = LP(version, suite, token, customer, class, record version)

Padding to 32 bytes hides a card number's length. The AAD is rebuilt from the row's own columns,
so an envelope moved to another row, customer, class or version does not open. It never holds the
KEK version: rewrapping would break it.

Rule for changing: v1 never changes. Another layout or cipher takes another version or suite
byte and another module. Suite 0x02, for documents and communications, is chunked in the STREAM
manner with a padding and a limit of its own: `keys.chunked`.

Parsing is total: every byte string is an envelope or `CiphertextRejected`.
"""

from __future__ import annotations

import os
import struct

import msgspec

from keys import aead
from keys.canonical import lp
from keys.data_keys import DataKey
from keys.errors import CiphertextRejected, ValueTooLarge
from keys.secret import Secret

VERSION = 1
SUITE = 1
PADDING = 32
MAX_VALUE = 0xFFFF  # what the u16 length can say; larger things are communications

_MAGIC = bytes((*b"CV", VERSION, SUITE))
_LENGTH = struct.Struct(">H")
_NONCE_AT = len(_MAGIC)
_COMMIT_AT = _NONCE_AT + aead.NONCE_BYTES
_SEALED_AT = _COMMIT_AT + aead.COMMIT_BYTES
_OVERHEAD = _SEALED_AT + aead.TAG_BYTES
_AAD_HEAD = lp(VERSION, SUITE)  # what LP writes of several parts is what it writes of each
_MAX_PADDED = -(-(_LENGTH.size + MAX_VALUE) // PADDING) * PADDING


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value belongs; taken from the row's own columns at sealing and at opening."""

    token: str
    customer: str
    data_class: str
    record_version: int

    def aad(self) -> bytes:
        """Return the context as additional authenticated data."""
        return _AAD_HEAD + lp(self.token, self.customer, self.data_class, self.record_version)


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed envelope; `parse` and `serialise` are each other's inverse."""

    nonce: bytes
    commit: bytes
    sealed: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Envelope:
        """Return the fields of `raw`.

        Raises:
            CiphertextRejected: not an envelope of this version.
        """
        padded = len(raw) - _OVERHEAD
        if (
            raw[:_NONCE_AT] != _MAGIC
            or padded % PADDING != 0
            or not PADDING <= padded <= _MAX_PADDED
        ):
            raise CiphertextRejected
        return cls(
            nonce=raw[_NONCE_AT:_COMMIT_AT],
            commit=raw[_COMMIT_AT:_SEALED_AT],
            sealed=raw[_SEALED_AT:],
        )

    def serialise(self) -> bytes:
        """Return the envelope's bytes."""
        return _MAGIC + self.nonce + self.commit + self.sealed


def seal(data_key: DataKey, plaintext: bytes, context: Context) -> bytes:
    """Seal one value and spend its data key.

    Args:
        data_key: fresh from the pool.
        plaintext: at most `MAX_VALUE` bytes.
        context: where the value belongs.

    Raises:
        ValueTooLarge: the value is longer than the format carries; the key is not spent.
        DataKeyReused: the key sealed something before.
    """
    if len(plaintext) > MAX_VALUE:
        raise ValueTooLarge("a value has at most 65535 bytes")
    # take() is the only way to the key and works once: that is what keeps a key to one message.
    return _seal(data_key.take(), os.urandom(aead.NONCE_BYTES), plaintext, context)


def _seal(key: Secret, nonce: bytes, plaintext: bytes, context: Context) -> bytes:
    framed = _LENGTH.pack(len(plaintext)) + plaintext
    framed += bytes(-len(framed) % PADDING)
    commit, sealed = aead.encrypt(key, nonce, framed, context.aad())
    return Envelope(nonce=nonce, commit=commit, sealed=sealed).serialise()


def open_(data_key: Secret, envelope: bytes, context: Context) -> bytes:
    """Return the value of an envelope.

    Args:
        data_key: the unwrapped key of this row.
        envelope: the sealed column.
        context: rebuilt from the row's own columns.

    Raises:
        CiphertextRejected: for any cause; the cause is not told.
    """
    parsed = Envelope.parse(envelope)
    framed = aead.decrypt(data_key, parsed.nonce, parsed.commit, parsed.sealed, context.aad())
    (length,) = _LENGTH.unpack_from(framed)
    end = _LENGTH.size + length
    # Authentic, yet not as `seal` frames it: one value has exactly one framing.
    if end + (-end % PADDING) != len(framed) or framed[end:].strip(b"\0"):
        raise CiphertextRejected
    return framed[_LENGTH.size : end]
