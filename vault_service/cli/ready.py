"""`vault-service ready`."""

from __future__ import annotations

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import ApiCommand
from vault_service.cli.exits import ExitCode
from vault_service.cli.session import session


@click.command("ready", cls=ApiCommand)
def ready() -> None:
    """Ask a service whether it can serve, and why not. Exit 6 when it cannot."""
    with session().client(anonymous=True, retries=0) as client:
        readiness = client.ready()
    if session().as_json:
        screen.write_json(readiness)
    else:
        screen.write_line(readiness.status)
        tables.write_table(
            ("check", "ok", "reason"),
            ((check.name, check.ok, check.reason) for check in readiness.checks),
        )
    if not readiness.ready:
        click.get_current_context().exit(ExitCode.UNAVAILABLE)
