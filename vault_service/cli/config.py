"""`vault-service config`: check the settings before a service is started with them."""

from __future__ import annotations

import re
from typing import Final

import click

from vault_service import settings
from vault_service.cli import screen, tables
from vault_service.cli.commands import PlainCommand
from vault_service.cli.exits import ExitCode
from vault_service.cli.session import session
from vault_service.errors import ServiceError, SettingsError
from vault_service.policy import loader
from vault_service.settings import ProcessRole, Settings

# Problems are joined by semicolons, and so is a problem with its own advice.
_AND: Final = re.compile(r"; (?!did you mean|keep one|make that)")


@click.group("config")
def group() -> None:
    """Check the settings of a service."""


@group.command("check", cls=PlainCommand)
@click.option(
    "--role",
    type=click.Choice([role.value for role in ProcessRole]),
    help="As a process of this role would be started.",
)
def check(role: str | None) -> None:
    """Read the settings as `serve` would, show each with its source, and name what is wrong.

    Nothing is connected to. Values of secrets are not shown.
    """
    try:
        found = settings.load(overrides={"process_role": role})
        problems = _missing(found)
    except SettingsError as error:
        found, problems = None, _AND.split(error.detail)
    if session().as_json:
        table = [] if found is None else found.describe()
        screen.write_json(
            {
                "ok": not problems,
                "problems": problems,
                "settings": [
                    {"name": name, "value": value, "source": source}
                    for name, value, source in table
                ],
            }
        )
    else:
        if found is not None:
            tables.write_table(("setting", "value", "source"), found.describe())
        for problem in problems:
            screen.note(f"wrong: {problem}")
        if not problems:
            screen.note("all settings are well")
    if problems:
        click.get_current_context().exit(ExitCode.FAILURE)


_LOGINS = {
    ProcessRole.ALL: ("ingest", "reveal", "console"),
    ProcessRole.INGEST: ("ingest",),
    ProcessRole.REVEAL: ("reveal",),
    ProcessRole.CONSOLE: ("console",),
    ProcessRole.WORKER: ("worker",),
}


def _missing(found: Settings) -> list[str]:
    """What a process of this role would lack, or could not use."""
    problems = [
        f"VAULT_SERVICE_DATABASE_{login.upper()}_URL is not set"
        for login in _LOGINS[found.process_role]
        if getattr(found, f"database_{login}_url") is None
    ]
    if found.vault_address is None:
        problems.append("VAULT_SERVICE_VAULT_ADDRESS is not set")
    if found.vault_spool is None:
        problems.append("VAULT_SERVICE_VAULT_SPOOL is not set")
    elif not found.vault_spool.is_dir():
        problems.append("VAULT_SERVICE_VAULT_SPOOL names no folder")
    if found.vault_ca_file is not None and not found.vault_ca_file.is_file():
        problems.append("VAULT_SERVICE_VAULT_CA_FILE names no file")
    try:
        loader.load(found.policy_file)
    except (OSError, ServiceError):
        problems.append(
            "VAULT_SERVICE_POLICY_FILE is not usable: vault-service policy check says why"
        )
    return problems
