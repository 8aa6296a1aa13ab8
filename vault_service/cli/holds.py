"""`vault-service holds`: keep records from being erased, and let them go again."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.session import session
from vault_service.cli.tokens import Time
from vault_service.client.holds import Hold


@click.group("holds")
def group() -> None:
    """Place legal holds, and release those of another officer."""


@api(group, "place", "officer")
@click.argument("customer")
@click.option("--token", "tokens", multiple=True, help="Only this record; repeatable [all].")
@click.option("--reason", required=True, help="Why; sealed.")
@click.option("--reference", required=True, help="The court's or your own reference; sealed.")
@click.option("--until", type=Time(), help="When it ends by itself [never].")
def place(
    customer: str,
    *,
    tokens: tuple[str, ...],
    reason: str,
    reference: str,
    until: datetime | None,
) -> None:
    """Keep CUSTOMER's records from being erased, expired ones too."""
    with session().client() as client:
        _show(
            client.holds.place(
                customer, reason=reason, reference=reference, tokens=tokens or None, until=until
            )
        )


@api(group, "release", "officer")
@click.argument("hold")
@click.option("--reason", required=True, help="Why it is no longer needed; sealed.")
def release(hold: str, *, reason: str) -> None:
    """Release HOLD, which another officer placed."""
    with session().client() as client:
        _show(client.holds.release(hold, reason))


@api(group, "show", "officer")
@click.argument("hold")
def show(hold: str) -> None:
    """Show one hold with its reason and reference."""
    with session().client() as client:
        _show(client.holds.get(hold))


@api(group, "list", "officer", "auditor")
@click.option("--customer", metavar="ID", help="Only this customer's.")
@click.option("--limit", type=click.IntRange(1), help="Stop after that many.")
def list_holds(customer: str | None, limit: int | None) -> None:
    """List holds without their texts."""
    with session().client() as client:
        found = list(islice(client.holds.list(customer=customer), limit))
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("id", "state", "customer", "records", "placed", "by", "until", "released", "by"),
        (
            (
                each.id,
                each.state,
                each.customer,
                "all" if each.tokens is None else len(each.tokens),
                each.placed_at,
                each.placed_by,
                each.until,
                each.released_at,
                each.released_by,
            )
            for each in found
        ),
    )


def _show(hold: Hold) -> None:
    if session().as_json:
        screen.write_json(hold)
        return
    records = "all records" if hold.tokens is None else f"{len(hold.tokens)} records"
    screen.write_line(f"{hold.id}: {hold.state}, {records} of {hold.customer}")
    for name, text in (("reason", hold.reason), ("reference", hold.reference)):
        if text is not None:
            screen.write_line(f"  {name}: {text}")
    if hold.release_reason is not None:
        screen.write_line(f"  released: {hold.release_reason}")
