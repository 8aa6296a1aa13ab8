"""Having witnesses cosign the log's head (C2SP tlog-witness).

The service itself talks to no witness: whoever runs this, an auditor or a timer of the operator's,
decides whom to ask and keeps what they say.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import click

from keys.signature import verify_ed25519
from vault_service.cli import screen
from vault_service.cli.commands import ApiCommand
from vault_service.cli.exits import Failed
from vault_service.cli.ledger_files import read_keys, told
from vault_service.cli.session import session
from vault_service.client import Client
from vault_service.client.witness import Cosigned, Witness
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import note as notes
from vault_service.ledger.checkpoint import Checkpoint
from vault_service.ledger.note import Note, VerifierKey

# Once with what we believe that the witness knows, once with what it says that it knows.
_TRIES: Final = 2


@click.command("cosign", cls=ApiCommand, roles=("auditor",))
@click.option(
    "--witness",
    required=True,
    metavar="URL",
    help="The witness's submission prefix.",
)
@click.option(
    "--witness-key",
    "witness_keys",
    required=True,
    multiple=True,
    metavar="VKEY",
    help="The witness's key, or a file of some.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the cosigned checkpoint is kept; one that is there says what the witness knows.",
)
def cosign(witness: str, witness_keys: tuple[str, ...], output: Path) -> None:
    """Have a witness cosign the log's newest head, and keep it.

    A checkpoint that a witness cosigned cannot be one of two stories: the witness signs only what
    continues what it signed before.
    """
    keys = read_keys(witness_keys)
    known = _size(output.read_bytes()) if output.exists() else 0
    with session().client() as client:
        note = _cosigned(client, Witness(witness, ca_file=session().ca_file), keys, known)
    output.write_bytes(note.encode())
    with told():
        found = checkpoints.cosigned(note, keys, verify_ed25519)
    size = _size(note.encode())
    names = [one.key.name for one in found]
    if session().as_json:
        screen.write_json({"size": size, "cosigners": names, "file": str(output)})
    else:
        screen.note(f"{', '.join(names)} cosigned the head of {size} entries; kept in {output}")


def _size(data: bytes) -> int:
    with told():
        return Checkpoint.parse(notes.parse(data).text).size


def _cosigned(client: Client, witness: Witness, keys: list[VerifierKey], known: int) -> Note:
    data = client.ledger.checkpoint()
    size = _size(data)
    note = notes.parse(data)
    for _ in range(_TRIES):
        if known > size:
            raise Failed(
                f"the witness has seen {known} entries; the log shows {size}",
                code="ledger_truncated",
            )
        # Of nothing, and of itself, a log needs no proof.
        growth = client.ledger.consistency(known, size) if 0 < known < size else None
        proof = [base64.b64decode(step) for step in growth.proof] if growth else []
        with told():
            answer = witness.add_checkpoint(checkpoints.witness_request(known, proof, note))
            if isinstance(answer, Cosigned):
                return checkpoints.with_cosignatures(note, answer.lines, keys, verify_ed25519)
        if answer.size == known:
            break
        known = answer.size
    raise Failed("the witness and the log do not agree on what was signed", code="ledger_forked")
