"""`vault-service evidence`: documents that requests show, and who reads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.session import session, write_private_bytes

_HOUR: Final = 3600
_WEEK: Final = 7 * 24


@click.group("evidence")
def group() -> None:
    """Upload documents of evidence, read them, and open them to auditors."""


_document = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
_disclosure = click.argument("disclosure")
_auditor = click.option("--auditor", required=True, metavar="PRINCIPAL", help="Whose id: prn_….")


@api(group, "upload", "requester")
@_document
def upload(file: Path) -> None:
    """Upload FILE; a request then names the digest that is printed."""
    with session().client() as client:
        taken = client.evidence.upload(file.read_bytes())
    if session().as_json:
        screen.write_json(taken)
    else:
        screen.write_line(taken.digest)
        screen.note(f"{taken.media_type}, {taken.size} bytes; name it in a request within a week")


@api(group, "show", "requester", "officer", "auditor")
@_disclosure
def show(disclosure: str) -> None:
    """Show what a request shows as evidence. That you read it is an entry of the ledger."""
    with session().client() as client:
        shown = client.evidence.show(disclosure)
    if session().as_json:
        screen.write_json(shown)
    else:
        head = {"disclosure": shown.disclosure, "ground": f"{shown.ground} (clause {shown.clause})"}
        tables.write_facts({**head, **shown.evidence})


@api(group, "read", "requester", "officer", "auditor")
@_disclosure
@click.argument("name", default="document")
@click.option("--output", type=click.Path(path_type=Path), help="Write it to a new file (0600).")
def read(disclosure: str, name: str, output: Path | None) -> None:
    """Read the document that a request shows as NAME [document]."""
    with session().client() as client:
        document = client.evidence.read(disclosure, name)
    if output is None:
        sys.stdout.buffer.write(document.content)
    else:
        write_private_bytes(output, document.content)
        screen.note(f"{output}: {document.media_type}, {document.digest}")


@api(group, "open", "officer")
@_disclosure
@_auditor
@click.option("--hours", type=click.IntRange(1, _WEEK), default=24, help="How long [24].")
def open_(disclosure: str, auditor: str, hours: int) -> None:
    """Let an auditor read the evidence of one request for a time."""
    with session().client() as client:
        access = client.evidence.open(disclosure, auditor=auditor, seconds=hours * _HOUR)
    if session().as_json:
        screen.write_json(access)
    else:
        screen.write_line(f"{access.auditor} may read it until {screen.shown(access.expires_at)}")


@api(group, "close", "officer")
@_disclosure
@_auditor
def close(disclosure: str, auditor: str) -> None:
    """Take an auditor's access back."""
    with session().client() as client:
        client.evidence.close(disclosure, auditor=auditor)
    if session().as_json:
        screen.write_json({"disclosure": disclosure, "auditor": auditor})
    else:
        screen.write_line(f"{auditor} may not read it any more")
