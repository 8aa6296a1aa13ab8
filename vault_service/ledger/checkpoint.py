"""Checkpoints of C2SP tlog-checkpoint: the signed head of the log; and witnesses' word for them.

    <origin>
    <tree size, decimal>
    <root hash, base64>
    <empty line>
    — <origin> <signature of the log>
    — <witness> <cosignature>                     C2SP tlog-cosignature, type 0x04

A cosignature is `u64 timestamp || Ed25519 signature` over `cosignature/v1`, the time and the note's
text. `witness_request` is the body of C2SP tlog-witness's add-checkpoint. This service signs no
extension lines and refuses checkpoints that have some: nobody could audit them. Standard library
only; the format is the specification's.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vault_service.ledger import note as notes
from vault_service.ledger.faults import CheckpointRejected, NoteRejected
from vault_service.ledger.merkle import HASH_SIZE, MAX_SIZE
from vault_service.ledger.note import CheckSignature, Note, Signature, VerifierKey

# What a witness accepts (tlog-witness).
MAX_PROOF_LINES: Final = 63
_TIMESTAMP: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head of a log."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint of a note's text; `Checkpoint.parse(text).text() == text`.

        Raises:
            CheckpointRejected: it is not one.
        """
        lines = text.split("\n")
        if len(lines) != 4 or not lines[0] or not lines[1].isascii() or not lines[1].isdigit():
            raise CheckpointRejected("the note is not a checkpoint")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except ValueError as error:
            raise CheckpointRejected("the checkpoint's root is malformed") from error
        # A size of twenty digits would be an integer of Python's all the same.
        size = int(lines[1]) if len(lines[1]) < 20 else MAX_SIZE + 1
        found = cls(origin=lines[0], size=size, root=root)
        if len(root) != HASH_SIZE or size > MAX_SIZE or found.text() != text:
            raise CheckpointRejected("the note is not a checkpoint")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """A witness's word: at this time this was the largest consistent head that it had seen."""

    key: VerifierKey
    timestamp: int


def log_key(origin: str, public_key: bytes) -> VerifierKey:
    """The verifier key of a log: its name is the origin."""
    return VerifierKey(name=origin, public_key=public_key)


def signed(checkpoint: Checkpoint, key: VerifierKey, signature: bytes) -> Note:
    """The checkpoint as a note with the log's signature."""
    line = Signature(name=key.name, key_id=key.id, value=signature)
    return Note(text=checkpoint.text(), signatures=(line,))


def verify(data: bytes, keys: Sequence[VerifierKey], check: CheckSignature) -> Checkpoint:
    """The checkpoint in a note that one of the log's keys signed.

    Raises:
        NoteRejected: the note is malformed, or none of the keys signed it.
        CheckpointRejected: it is no checkpoint, or one of another log than the key's.
    """
    note = notes.parse(data)
    signers = note.verified(keys, check)
    found = Checkpoint.parse(note.text)
    if found.origin not in {key.name for key in signers}:
        raise CheckpointRejected("the checkpoint is another log's")
    return found


def cosigned(note: Note, keys: Sequence[VerifierKey], check: CheckSignature) -> list[Cosignature]:
    """The cosignatures of known witnesses on a note; unknown ones are passed over.

    Raises:
        NoteRejected: a known witness's cosignature is wrong.
    """
    known = {(key.name, key.id): key for key in keys if key.kind == notes.COSIGNATURE}
    found = []
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        timestamp = int.from_bytes(signature.value[:_TIMESTAMP], "big")
        if timestamp > MAX_SIZE:
            raise NoteRejected("a cosignature's time is out of range")
        notes.check_one(
            key, cosigned_message(note.text, timestamp), signature.value[_TIMESTAMP:], check
        )
        found.append(Cosignature(key=key, timestamp=timestamp))
    return found


def cosigned_message(text: str, timestamp: int) -> bytes:
    """What a witness signs."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def witness_request(old: int, proof: Sequence[bytes], note: Note) -> bytes:
    """The body of add-checkpoint: the size that the witness knows, the proof, the checkpoint.

    Raises:
        CheckpointRejected: the proof is longer than a witness takes.
    """
    if len(proof) > MAX_PROOF_LINES:
        raise CheckpointRejected("the proof is longer than a witness takes")
    lines = "".join(base64.b64encode(step).decode() + "\n" for step in proof)
    return f"old {old}\n{lines}\n".encode() + note.encode()


def with_cosignatures(
    note: Note, answer: bytes, keys: Sequence[VerifierKey], check: CheckSignature
) -> Note:
    """The note with those lines of a witness's answer that known witnesses signed.

    Raises:
        NoteRejected: the answer is malformed, a known witness's line is wrong, or none is known.
    """
    try:
        lines = answer.decode().split("\n")
    except UnicodeDecodeError as error:
        raise NoteRejected("the witness's answer is not UTF-8") from error
    if lines[-1]:
        raise NoteRejected("the witness's answer does not end in a newline")
    offered = Note(text=note.text, signatures=tuple(notes.parse_line(line) for line in lines[:-1]))
    believed = {(one.key.name, one.key.id) for one in cosigned(offered, keys, check)}
    if not believed:
        raise NoteRejected("no known witness cosigned")
    lines_kept = tuple(
        one
        for one in offered.signatures
        if (one.name, one.key_id) in believed and one not in note.signatures
    )
    return Note(text=note.text, signatures=note.signatures + lines_kept)
