"""`vault-service services`: what customers have chosen."""

from __future__ import annotations

from typing import IO, Final

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.exits import Failed
from vault_service.cli.session import session

_COLUMNS: Final = ("service", "since", "until", "now", "replaced", "told", "token", "reference")


@click.group("services")
def group() -> None:
    """Keep which services customers have chosen, and read it, masked."""


@api(group, "record", "billing", "support")
@click.argument("customer")
@click.option("--service", required=True, metavar="CODE", help="The service's code; it is shown.")
@click.option("--since", required=True, metavar="DAY", help="The first day, such as 2026-11-25.")
@click.option("--until", metavar="DAY", help="The first day without it.")
@click.option(
    "--details-file", type=click.File("r"), help="What was agreed, from a file or - ; sealed."
)
@click.option("--reference", metavar="TEXT", help="Your own name for the record, kept in clear.")
def record(
    customer: str,
    *,
    service: str,
    since: str,
    until: str | None,
    details_file: IO[str] | None,
    reference: str | None,
) -> None:
    """Keep a choice of CUSTOMER; told again with --until, it has ended."""
    told = {
        "service": service,
        "since": since,
        "until": until,
        "details": None if details_file is None else details_file.read(),
        "reference": reference,
    }
    choice = {name: value for name, value in told.items() if value is not None}
    with session().client() as client:
        (result,) = client.services.record(customer, [choice])
    if result.error is not None:
        raise Failed(result.error.detail, code=result.error.code)
    if session().as_json:
        screen.write_json(result)
        return
    tables.write_facts({"token": result.token, "created": result.created})


@api(group, "list", "support", "billing")
@click.argument("customer")
def list_(customer: str) -> None:
    """List the choices of CUSTOMER, with those that a later one replaced."""
    with session().client() as client:
        history = client.services.history(customer)
    if session().as_json:
        screen.write_json(history)
        return
    tables.write_table(
        _COLUMNS,
        (
            (
                each.service,
                each.since,
                each.until,
                "yes" if each.current else "",
                "yes" if each.superseded else "",
                each.recorded_at,
                each.token,
                each.reference,
            )
            for each in history.items
        ),
        empty="no services",
    )
    if history.truncated:
        click.echo("there are more; `vault-service tokens list` has them all", err=True)
