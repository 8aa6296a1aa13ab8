"""`vault-service honeytokens`: mark what no honest caller touches."""

from __future__ import annotations

import sys

import click

from vault_service.cli import screen
from vault_service.cli.commands import api
from vault_service.cli.session import session

_names = click.argument("names", nargs=-1)


@click.group("honeytokens")
def group() -> None:
    """Mark records and customers that no honest caller touches."""


@api(group, "plant", "officer")
@_names
def plant(names: tuple[str, ...]) -> None:
    """Mark tokens and customers NAMES, or those on standard input, one a line.

    Whoever is told of one from now on loses the API key, and an alarm is raised. Keep the list
    where only you find it: the vault cannot tell it to you.
    """
    with session().client() as client:
        _show(client.honeytokens.plant(_given(names)), "marked")


@api(group, "lift", "officer")
@_names
def lift(names: tuple[str, ...]) -> None:
    """Take the marks of NAMES away, or of those on standard input. It raises an alarm."""
    with session().client() as client:
        _show(client.honeytokens.lift(_given(names)), "lifted")


@api(group, "count", "officer")
def count() -> None:
    """Tell how many marks stand."""
    with session().client() as client:
        _show(client.honeytokens.count(), "standing")


def _given(names: tuple[str, ...]) -> list[str]:
    return list(names) or [line.strip() for line in sys.stdin if line.strip()]


def _show(number: int, what: str) -> None:
    if session().as_json:
        screen.write_json({"count": number})
    else:
        screen.write_line(f"{number} {what}")
