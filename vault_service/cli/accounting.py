"""What was disclosed, accounted for: to a customer, and to the public."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import ApiCommand
from vault_service.cli.session import session, write_private
from vault_service.client.accounting import Disclosed

_COLUMNS: Final = ("at", "what", "recipient", "ground", "grant", "withheld")


@click.command("disclosures", cls=ApiCommand, roles=("support", "officer"))
@click.argument("customer")
@click.option("--limit", type=click.IntRange(1), help="Stop after that many.")
def listing(customer: str, limit: int | None) -> None:
    """List what was disclosed of a customer, newest first, by mask.

    Support sees what the customer may be told. An officer also sees, marked, what may not be told
    yet.
    """
    with session().client() as client:
        found = list(islice(client.accounting.list(customer), limit))
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        _COLUMNS,
        (
            (
                each.at,
                _what(each),
                each.recipient_kind,
                f"{each.ground} ({each.clause})",
                each.disclosure,
                _withheld(each),
            )
            for each in found
        ),
        empty="nothing that may be told",
    )


def _what(each: Disclosed) -> str:
    return "\n".join(
        f"{value.data_class}: {screen.shown(value.mask) if value.mask else 'no longer kept'}"
        f" ({', '.join(value.fields)})"
        for value in each.values
    )


def _withheld(each: Disclosed) -> str | None:
    if not each.withheld:
        return None
    return "until the grant ends" if each.told_after is None else f"until {each.told_after}"


@click.command("notice", cls=ApiCommand, roles=("support", "officer"))
@click.argument("customers", nargs=-1, required=True, metavar="CUSTOMER...")
@click.option(
    "--format", "form", type=click.Choice(["text", "html"]), default="text", show_default=True
)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for one file of each customer; needed for several.",
)
def notice(customers: tuple[str, ...], form: str, folder: Path | None) -> None:
    """Print a notice of what was disclosed, for a customer to keep: what, to whom, why, when.

    It holds no value, and what may be told today: nothing that is withheld, whoever prints it.
    """
    if folder is None and len(customers) > 1:
        raise click.UsageError("several notices need --out")
    ending = "html" if form == "html" else "txt"
    written = []
    with session().client() as client:
        for customer in dict.fromkeys(customers):
            made = client.accounting.notice(customer, form=ending)
            if folder is None:
                click.echo(made if form == "html" else screen.shown(made), nl=False)
                return
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / f"notice-{customer}.{ending}"
            write_private(path, made)
            written.append(str(path))
    if session().as_json:
        screen.write_json({"written": written})
    else:
        screen.note(f"{len(written)} notices in {folder}")
