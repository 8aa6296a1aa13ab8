"""`vault-service modifications`: customers' changes of their data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import PlainCommand, api
from vault_service.cli.session import session
from vault_service.cli.tokens import CLASSES
from vault_service.cli.values_input import read_value
from vault_service.client.modifications import Modification
from vault_service.domain import helpdesk
from vault_service.domain.modifications import Identity, Reason, State
from vault_service.domain.values import parse
from vault_service.errors import ServiceError
from vault_service.web import bodies

# A message of the helpdesk is this large at most.
_MAX_MESSAGE: Final = 4 * 1024 * 1024
_COLUMNS: Final = ("id", "state", "class", "present", "proposed", "customer", "ticket", "opened")


@click.group("modifications")
def group() -> None:
    """Change customers' data as they asked: propose, confirm who asks, apply."""


@api(group, "open", "support")
@click.argument("customer")
@click.option("--ticket", required=True, metavar="REF", help="The helpdesk's reference.")
@click.option("--class", "data_class", type=click.Choice(CLASSES), help="What the value is.")
@click.option("--token", metavar="ID", help="Which record, where the class has several.")
@click.option(
    "--value-file",
    metavar="FILE",
    help="Read from FILE, or - for standard input [prompt, or standard input].",
)
def open_(
    customer: str,
    *,
    ticket: str,
    data_class: str | None,
    token: str | None,
    value_file: str | None,
) -> None:
    """Ask for a change of CUSTOMER's data; without --class, for one that somebody reads later."""
    value = None if data_class is None else read_value(data_class, value_file)
    with session().client() as client:
        _show(
            client.modifications.open(
                customer, ticket, data_class=data_class, value=value, token=token
            )
        )


@api(group, "propose", "support")
@click.argument("modification")
@click.option("--class", "data_class", type=click.Choice(CLASSES), required=True)
@click.option("--token", metavar="ID", help="Which record, where the class has several.")
@click.option("--value-file", metavar="FILE", help="Read from FILE, or - for standard input.")
def propose(
    modification: str, *, data_class: str, token: str | None, value_file: str | None
) -> None:
    """Give a change the value that you read out of the message."""
    value = read_value(data_class, value_file)
    with session().client() as client:
        _show(client.modifications.propose(modification, data_class, value, token=token))


@api(group, "list", "support")
@click.option("--customer", metavar="ID", help="Only this customer's.")
@click.option("--state", type=click.Choice([str(state) for state in State]))
def list_(customer: str | None, state: str | None) -> None:
    """List changes."""
    with session().client() as client:
        found = list(client.modifications.list(customer=customer, state=state))
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        _COLUMNS,
        (
            (
                each.id,
                each.state,
                each.data_class,
                each.present,
                each.proposed,
                each.customer,
                each.ticket,
                each.created_at,
            )
            for each in found
        ),
        empty="no changes",
    )


@api(group, "show", "support")
@click.argument("modification")
def show(modification: str) -> None:
    """Show a change with the masks of the old and the new value."""
    with session().client() as client:
        _show(client.modifications.get(modification))


@api(group, "assign", "support")
@click.argument("modification")
@click.argument("customer")
def assign(modification: str, customer: str) -> None:
    """Say that CUSTOMER wrote the message that waits; shows the change that waits for him now."""
    with session().client() as client:
        _show(client.modifications.assign(modification, customer))


@api(group, "confirm", "support")
@click.argument("modification")
@click.option("--how", type=click.Choice([str(how) for how in Identity]), required=True)
def confirm(modification: str, how: str) -> None:
    """Say how you made sure that the customer himself asks."""
    with session().client() as client:
        _show(client.modifications.confirm(modification, how))


@api(group, "apply", "support")
@click.argument("modification")
def apply(modification: str) -> None:
    """Make the proposed value the record's; of a card or a telephone another person must."""
    with session().client() as client:
        _show(client.modifications.apply(modification))


@api(group, "reject", "support")
@click.argument("modification")
@click.option("--reason", type=click.Choice([str(why) for why in Reason]), required=True)
def reject(modification: str, reason: str) -> None:
    """End a change that should not be made."""
    with session().client() as client:
        _show(client.modifications.reject(modification, reason))


@api(group, "withdraw", "support")
@click.argument("modification")
def withdraw(modification: str) -> None:
    """End a change that the customer took back."""
    with session().client() as client:
        _show(client.modifications.withdraw(modification))


@group.command("map", cls=PlainCommand)
@click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("message", type=click.File("rb"))
def map_(mapping: Path, message: BinaryIO) -> None:
    """Try a helpdesk MAPPING on a MESSAGE (a file, or - for standard input); sends nothing.

    Shows what would be asked for, values by their masks only, and what a person would have to read.
    """
    asked = helpdesk.read(
        helpdesk.load(mapping.read_text(encoding="utf-8")),
        bodies.decode(message.read(_MAX_MESSAGE)),
    )
    found = [_tried(change) for change in asked.changes]
    if session().as_json:
        screen.write_json({"ticket": asked.ticket, "customer_by": asked.who, "changes": found})
        return
    tables.write_facts({"ticket": asked.ticket, "customer by": asked.who})
    tables.write_table(
        ("class", "mask", "problem"),
        ((each["class"], each["mask"], each["problem"]) for each in found),
        empty="nothing that the mapping knows: a person reads the ticket",
    )


def _tried(change: helpdesk.AskedChange) -> dict[str, object]:
    """One change as it would be proposed, by its mask, or why a person would have to read it."""
    told: dict[str, object] = {"class": change.data_class.value, "mask": None, "problem": None}
    try:
        value = parse(change.data_class, change.value, today=datetime.now(UTC).date())
    except ServiceError as problem:
        return told | {"problem": problem.code}
    return told | {"mask": dict(value.mask)}


def _show(change: Modification) -> None:
    if session().as_json:
        screen.write_json(change)
        return
    tables.write_facts(
        {
            "id": change.id,
            "state": change.state,
            "customer": change.customer,
            "token": change.token,
            "class": change.data_class,
            "version": change.version,
            "present": change.present,
            "proposed": change.proposed,
            "unassigned": change.unassigned,
            "asked by": f"{change.source} {screen.shown(change.ticket)}",
            "confirmed by": change.confirmed_by,
            "confirmed how": change.confirmed_how,
            "needs another person": change.second_person or None,
            "ended by": change.ended_by,
            "reason": change.reason,
            "opened": change.created_at,
            "expires": change.expires_at,
            "ended": change.ended_at,
        }
    )
