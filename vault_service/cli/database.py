"""`vault-service database`: the schema, brought up to date by its owner before a release serves.

Nothing of the service runs here and nothing is read but the owner's URL, which no serving process
has: whoever can change tables could change grants as well.
"""

from __future__ import annotations

import click

from migrations import runner
from vault_service import settings
from vault_service.cli import screen
from vault_service.cli.commands import PlainCommand
from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.session import session
from vault_service.settings import ProcessRole

_UNAVAILABLE = frozenset(("database_unavailable", "migration_locked"))


@click.group("database")
def group() -> None:
    """The schema of the database."""


@group.command("upgrade", cls=PlainCommand)
def upgrade() -> None:
    """Bring the schema up to this release, and make the service's database roles.

    Connects with VAULT_SERVICE_DATABASE_OWNER_URL. Harmless where nothing is to be done.
    """
    url = _owner_url()
    try:
        before = runner.current(url)
        runner.upgrade(url)
    except runner.MigrationError as error:
        raise _told(error) from error
    if session().as_json:
        screen.write_json({"from": before, "to": runner.head()})
    else:
        screen.write_line(f"schema: {before or 'nothing'} -> {runner.head()}")


@group.command("check", cls=PlainCommand)
def check() -> None:
    """Show how the database differs from this release's tables. Exit 5 where it does."""
    url = _owner_url()
    try:
        differences = runner.check(url)
    except runner.MigrationError as error:
        raise _told(error) from error
    if session().as_json:
        screen.write_json({"ok": not differences, "differences": differences})
    else:
        for difference in differences or ["The schema is this release's."]:
            screen.write_line(difference)
    if differences:
        click.get_current_context().exit(ExitCode.CONFLICT)


def _owner_url() -> str:
    """The owner's URL.

    Raises:
        Failed: it is not set.
    """
    # The host that migrates need not know what only a serving process needs; ingest needs least.
    found = settings.load(overrides={"process_role": ProcessRole.INGEST.value})
    if found.database_owner_url is None:
        raise Failed(
            "the owner's database URL is not known",
            code="settings_invalid",
            exit_code=ExitCode.USAGE,
            hint="set VAULT_SERVICE_DATABASE_OWNER_URL, or …_URL_FILE with a file that holds it",
        )
    return found.database_owner_url


def _told(error: runner.MigrationError) -> Failed:
    away = error.code in _UNAVAILABLE
    return Failed(
        str(error), code=error.code, exit_code=ExitCode.UNAVAILABLE if away else ExitCode.FAILURE
    )
