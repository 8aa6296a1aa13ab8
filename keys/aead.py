"""AES-256-GCM that commits to its key and context. A home of `cryptography`.

    OKM    = HKDF-SHA512(ikm = data key, salt = none, info = "cv1" || SHA-256(AAD), 64 bytes)
    key    = OKM[:32]        AES-256-GCM key
    commit = OKM[32:]        stored beside the ciphertext, compared before decrypting

Why the commitment: GCM's tag does not bind the key. Anyone who knows two keys can make one
ciphertext that opens under both, so "it decrypted" does not prove "this is the key it was sealed
with". `commit` is a collision-resistant image of (data key, AAD): a second key or a second
context that matches it means a SHA-512 collision.

Why deriving from the AAD as well as passing it: the key itself then belongs to one place, so a
fault in either binding leaves the other.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keys.errors import CiphertextRejected
from keys.secret import Secret

KEY_BYTES = 32
NONCE_BYTES = 12
COMMIT_BYTES = 32
TAG_BYTES = 16

_LABEL = b"cv1"
_SHA512 = hashes.SHA512()


def _derive(data_key: bytes, aad: bytes) -> tuple[bytes, bytes]:
    if len(data_key) != KEY_BYTES:
        raise ValueError("a data key has 32 bytes")
    info = _LABEL + hashlib.sha256(aad).digest()
    hkdf = HKDF(algorithm=_SHA512, length=KEY_BYTES + COMMIT_BYTES, salt=None, info=info)
    okm = hkdf.derive(data_key)
    return okm[:KEY_BYTES], okm[KEY_BYTES:]


def encrypt(data_key: Secret, nonce: bytes, plaintext: bytes, aad: bytes) -> tuple[bytes, bytes]:
    """Encrypt one message and commit to key and context.

    Args:
        data_key: 32 bytes, used for this message and no other.
        nonce: 12 bytes.
        plaintext: the message.
        aad: the context, of any length.

    Returns:
        The 32-byte commitment, and the ciphertext with its 16-byte tag.

    Raises:
        ValueError: the data key or the nonce has a wrong length.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce has 12 bytes")
    key, commit = _derive(data_key.expose(), aad)
    return commit, AESGCM(key).encrypt(nonce, plaintext, aad)


def decrypt(data_key: Secret, nonce: bytes, commit: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Return the message of `sealed`, or refuse.

    Args:
        data_key: 32 bytes.
        nonce: 12 bytes.
        commit: the commitment stored beside the ciphertext.
        sealed: ciphertext and tag.
        aad: the context, rebuilt by the caller.

    Raises:
        CiphertextRejected: wrong key, wrong context, wrong commitment or altered bytes.
    """
    try:
        key, expected = _derive(data_key.expose(), aad)
        # The commitment comes first: GCM is never asked about a ciphertext of another key.
        if not hmac.compare_digest(expected, commit):
            raise CiphertextRejected
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError):
        raise CiphertextRejected from None


class ChunkCipher:
    """One message's derived key, for a message that is sealed in chunks (keys.chunked).

    The caller gives every chunk a nonce of its own; under one data key there is one message.

    Args:
        data_key: 32 bytes, used for this message and no other.
        aad: the context, of any length.
        expected: when opening, the commitment stored with the message.

    Raises:
        ValueError: the data key has a wrong length, when sealing.
        CiphertextRejected: wrong key, wrong context or wrong commitment, when opening.
    """

    __slots__ = ("_aad", "_gcm", "commit")

    def __init__(self, data_key: Secret, aad: bytes, *, expected: bytes | None = None) -> None:
        try:
            key, self.commit = _derive(data_key.expose(), aad)
        except ValueError:
            if expected is None:
                raise
            raise CiphertextRejected from None
        # The commitment comes first: GCM is never asked about a ciphertext of another key.
        if expected is not None and not hmac.compare_digest(expected, self.commit):
            raise CiphertextRejected
        self._gcm = AESGCM(key)
        self._aad = aad

    def seal(self, nonce: bytes, chunk: bytes) -> bytes:
        """Return the chunk's ciphertext with its tag."""
        return self._gcm.encrypt(nonce, chunk, self._aad)

    def open(self, nonce: bytes, sealed: bytes) -> bytes:
        """Return the chunk.

        Raises:
            CiphertextRejected: altered bytes, or a chunk of another place.
        """
        try:
            return self._gcm.decrypt(nonce, sealed, self._aad)
        except (InvalidTag, ValueError):
            raise CiphertextRejected from None
