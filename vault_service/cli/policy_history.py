"""`vault-service policy history`, `text` and `changes`: what was in force, by the service."""

from __future__ import annotations

import hashlib
import sys
from typing import Final

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import ApiCommand
from vault_service.cli.exits import Failed
from vault_service.cli.session import session

_READERS: Final = ("auditor", "officer", "operator")


@click.command("history", cls=ApiCommand, roles=_READERS)
def history() -> None:
    """List every version that was in force, newest first, and from when to when."""
    with session().client() as client:
        found = list(client.policies.list())
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("number", "version", "name", "from", "until"),
        (
            (each.number, each.version, each.name, each.adopted_at, each.until or "in force")
            for each in found
        ),
    )


@click.command("text", cls=ApiCommand, roles=_READERS)
@click.argument("version")
def text(version: str) -> None:
    """Print the text of VERSION, byte for byte as it was in force; its SHA-256 is the version."""
    with session().client() as client:
        found = client.policies.get(version)
    if hashlib.sha256(found.text.encode()).hexdigest() != version:
        raise Failed("the text that was answered is not this version's", code="policy_altered")
    if session().as_json:
        screen.write_json(found)
    else:
        sys.stdout.write(found.text)


@click.command("changes", cls=ApiCommand, roles=_READERS)
@click.argument("version")
@click.option("--from", "since", metavar="VERSION", help="Compare with this; else the one before.")
def changes(version: str, since: str | None) -> None:
    """Tell in words what VERSION allows or forbids, compared with the one in force before."""
    with session().client() as client:
        found = client.policies.changes(version, since=since)
    if session().as_json:
        screen.write_json(found)
        return
    screen.note(f"{found.new} compared with {found.old}")
    tables.write_table(
        ("effect", "where", "what"),
        ((each.effect, each.where, each.says) for each in found.differences),
    )
    if not found.differences:
        screen.note("both decide alike and read alike")
