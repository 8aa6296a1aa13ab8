"""`vault-service customers erase` and its kin, and `vault-service erasures`."""

from __future__ import annotations

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.session import session
from vault_service.client.erasures import Erasure


@click.group("erasures")
def group() -> None:
    """Erase a customer, which takes two officers, and read the certificate."""


@api(group, "request", "officer")
@click.argument("customer")
@click.option("--yes", is_flag=True, help="Do not ask.")
def request(customer: str, *, yes: bool) -> None:
    """Ask for the erasure of CUSTOMER; another officer confirms it."""
    if not yes:
        click.confirm(f"Ask for the erasure of {customer}?", abort=True, err=True)
    with session().client() as client:
        _show(client.erasures.request(customer))


@api(group, "confirm", "officer")
@click.argument("customer")
@click.option("--yes", is_flag=True, help="Do not ask.")
def confirm(customer: str, *, yes: bool) -> None:
    """Confirm the erasure of CUSTOMER, which another officer asked for. It cannot be undone."""
    if not yes:
        click.confirm(f"Erase {customer} for ever?", abort=True, err=True)
    with session().client() as client:
        _show(client.erasures.confirm(customer))


@api(group, "show", "officer", "auditor")
@click.argument("customer")
def show(customer: str) -> None:
    """Show how far the erasure of CUSTOMER is, and its certificate once it is done."""
    with session().client() as client:
        _show(client.erasures.get(customer))


@api(group, "list", "officer", "auditor")
def list_erasures() -> None:
    """List all erasures of customers."""
    with session().client() as client:
        found = list(client.erasures.list())
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("customer", "state", "records", "asked by", "confirmed by", "ended", "in backups until"),
        (
            (
                each.customer,
                each.state,
                each.records,
                each.requested_by,
                each.confirmed_by,
                each.finished_at,
                each.backups_until,
            )
            for each in found
        ),
    )


def _show(erasure: Erasure) -> None:
    if session().as_json:
        screen.write_json(erasure)
        return
    tables.write_facts(
        {
            "customer": erasure.customer,
            "state": erasure.state,
            "asked for": f"{screen.shown(erasure.requested_at)} by {erasure.requested_by}",
            "confirmed by": erasure.confirmed_by,
            "records destroyed": erasure.records,
            "ended": erasure.finished_at,
            "in backups until": erasure.backups_until
            or ("not known: no backup horizon is set" if erasure.finished_at else None),
            "ledger entry": erasure.entry,
        }
    )
