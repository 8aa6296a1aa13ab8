"""Signed notes of C2SP signed-note, with Ed25519: text that anybody's tools can verify.

    <text, ends in a newline>
    <empty line>
    — <key name> base64(key id (u32) || signature)
    …

    key id       = SHA-256(key name || 0x0A || type || public key)[:4]
    verifier key = <key name>+<key id, 8 hex digits>+base64(type || public key)

Type 0x01 signs the text itself; type 0x04 is a witness's cosignature (`cosignature`). This module
checks no signature by itself: a function does that is handed in, so that everything here needs the
standard library only. Signing is Vault's alone. The format is the specification's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vault_service.ledger.faults import NoteRejected

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
# The specification wants at least 16 signatures accepted, and a bound.
MAX_SIGNATURES: Final = 100
MAX_NOTE: Final = 1_000_000

_DASH: Final = "\u2014 "

# Returns when the signature is right, and raises whatever it likes when it is not:
# (public key, message, signature).
CheckSignature = Callable[[bytes, bytes, bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """Whom to believe: a name and a public key of one type."""

    name: str
    public_key: bytes
    kind: int = ED25519

    def __post_init__(self) -> None:
        if not is_key_name(self.name) or len(self.public_key) != KEY_SIZE:
            raise NoteRejected("this is not a verifier key")

    @property
    def id(self) -> int:
        """The key's short identifier."""
        material = self.name.encode() + b"\n" + bytes((self.kind,)) + self.public_key
        return int.from_bytes(hashlib.sha256(material).digest()[:4], "big")

    def __str__(self) -> str:
        """The key as text."""
        material = base64.b64encode(bytes((self.kind,)) + self.public_key).decode()
        return f"{self.name}+{self.id:08x}+{material}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key of a text; `str(VerifierKey.parse(text)) == text`.

        Raises:
            NoteRejected: it is not one, or of a type that is not known here.
        """
        name, _, rest = text.partition("+")
        _, _, encoded = rest.partition("+")
        material = _decode(encoded)
        if not material or material[0] not in (ED25519, COSIGNATURE):
            raise NoteRejected("this is not a verifier key of a known type")
        key = cls(name=name, public_key=material[1:], kind=material[0])
        if str(key) != text:
            raise NoteRejected("this is not a verifier key")
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One line under a note. `value` is what follows the key's id."""

    name: str
    key_id: int
    value: bytes

    def line(self) -> str:
        """The line, with its newline."""
        encoded = base64.b64encode(self.key_id.to_bytes(4, "big") + self.value).decode()
        return f"{_DASH}{self.name} {encoded}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note as read; nothing is believed yet."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return (self.text + "\n" + "".join(one.line() for one in self.signatures)).encode()

    def verified(self, keys: Sequence[VerifierKey], check: CheckSignature) -> list[VerifierKey]:
        """The keys that signed, at least one.

        Only plain signatures (type 0x01) count here. A signature of a known key that is wrong
        rejects the whole note; those of unknown keys are passed over.

        Raises:
            NoteRejected: none of the keys signed, or one of their signatures is wrong.
        """
        known = {(key.name, key.id): key for key in keys if key.kind == ED25519}
        found: list[VerifierKey] = []
        for signature in self.signatures:
            key = known.get((signature.name, signature.key_id))
            if key is None or key in found:
                continue
            check_one(key, self.text.encode(), signature.value, check)
            found.append(key)
        if not found:
            raise NoteRejected("no trusted key signed this note")
        return found


def check_one(key: VerifierKey, message: bytes, value: bytes, check: CheckSignature) -> None:
    """Return if one signature is right.

    Raises:
        NoteRejected: it is not.
    """
    if len(value) != SIGNATURE_SIZE:
        raise NoteRejected("a signature has another length")
    try:
        check(key.public_key, message, value)
    except Exception as error:
        # Whatever a check raises means that the signature does not count.
        raise NoteRejected("a trusted key's signature is wrong") from error


def is_key_name(name: str) -> bool:
    """Whether a key may have this name: some text without spaces, pluses and control characters."""
    return bool(name) and not any(
        char.isspace() or char == "+" or ord(char) < 0x20 for char in name
    )


def parse(data: bytes) -> Note:
    """Read a note; `parse(data).encode() == data`.

    Raises:
        NoteRejected: it is not one.
    """
    if len(data) > MAX_NOTE:
        raise NoteRejected("the note is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NoteRejected("the note is not UTF-8") from error
    if any(char < " " and char != "\n" for char in text):
        raise NoteRejected("the note holds a control character")
    body, gap, below = text.rpartition("\n\n")
    if not gap or not below.endswith("\n"):
        raise NoteRejected("the note has no signatures")
    lines = below[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteRejected("the note has too many signatures")
    return Note(text=body + "\n", signatures=tuple(parse_line(line) for line in lines))


def parse_line(line: str) -> Signature:
    """One signature line without its newline.

    Raises:
        NoteRejected: it is not one.
    """
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    value = _decode(encoded)
    if not line.startswith(_DASH) or not is_key_name(name) or len(value) <= 4:
        raise NoteRejected("a signature line is malformed")
    return Signature(name=name, key_id=int.from_bytes(value[:4], "big"), value=value[4:])


def _decode(text: str) -> bytes:
    """Standard base 64, strictly; empty for anything else."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return value if base64.b64encode(value).decode() == text else b""
