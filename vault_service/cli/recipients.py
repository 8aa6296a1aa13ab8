"""`vault-service recipients`: who may be handed data, on record."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.session import session
from vault_service.cli.values_input import read_json_object, read_text
from vault_service.client.models import RecipientRecord

_TEXTS = ("kind", "name", "verified", "contact")


@click.group("recipients")
def group() -> None:
    """Put recipients on record, for requests to name and packages to be sealed for."""


@api(group, "create", "officer", "requester")
@click.argument("file", default="-")
def create(file: str) -> None:
    """Put a recipient on record, from the JSON object in FILE or on standard input.

    It holds kind, name, verified (how it was made sure who he is), contact, and a public_key where
    packages shall be sealed for him. Who somebody is stands on no command line.
    """
    said: dict[str, Any] = read_json_object(read_text(file))
    if not set(_TEXTS) <= said.keys() <= {*_TEXTS, "public_key"}:
        raise click.UsageError(f"a recipient has {', '.join(_TEXTS)}, and perhaps a public_key")
    with session().client() as client:
        _show(client.recipients.create(**said))


@api(group, "show", "officer", "requester")
@click.argument("recipient")
def show(recipient: str) -> None:
    """Show one recipient with name, verification and contact."""
    with session().client() as client:
        _show(client.recipients.get(recipient))


@api(group, "list", "officer", "requester")
@click.option("--limit", type=click.IntRange(1), help="Stop after that many.")
def list_recipients(limit: int | None) -> None:
    """List recipients without their texts."""
    with session().client() as client:
        found = list(islice(client.recipients.list(), limit))
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("id", "kind", "key's thumbprint", "put on record", "by"),
        ((each.id, each.kind, each.thumbprint, each.created_at, each.created_by) for each in found),
        empty="no recipients",
    )


def _show(recipient: RecipientRecord) -> None:
    if session().as_json:
        screen.write_json(recipient)
        return
    tables.write_facts(
        {
            "id": recipient.id,
            "kind": recipient.kind,
            "name": recipient.name,
            "verified": recipient.verified,
            "contact": recipient.contact,
            "key's thumbprint": recipient.thumbprint,
            "put on record": f"{screen.shown(recipient.created_at)} by {recipient.created_by}",
        }
    )
