"""`vault-service keys`: the keys and roles that Vault holds for the service.

These commands talk to Vault, with an administrator's token from a file. Those of
`rotation_commands` join the same group and ask the service. No key material passes through here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from keys import inventory, spool
from keys.admin import AdminTransit
from keys.declared import Inventory
from keys.secret import Secret
from vault_service import settings
from vault_service.cli import screen, tables
from vault_service.cli.commands import PREFIX, PlainCommand
from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.session import read_private, session
from vault_service.errors import SettingsError
from vault_service.settings import Settings


class _VaultCommand(PlainCommand):
    """A command that talks to Vault with a token from a file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        path = click.Path(path_type=Path, dir_okay=False)
        self.params += [
            click.Option(
                ["--vault-address"],
                metavar="URL",
                envvar=f"{PREFIX}_VAULT_ADDRESS",
                help="Where Vault answers [VAULT_SERVICE_VAULT_ADDRESS].",
            ),
            click.Option(
                ["--vault-token-file"],
                type=path,
                required=True,
                envvar=f"{PREFIX}_VAULT_TOKEN_FILE",
                help="File (0600) with an administrator's token.",
            ),
            click.Option(
                ["--vault-ca-file"],
                type=path,
                envvar=f"{PREFIX}_VAULT_CA_FILE",
                help="Certificates (PEM) to trust.",
            ),
            click.Option(["--mount"], help="Where Transit is mounted [transit]."),
            click.Option(["--prefix"], help="Before AppRole and policy names [vault-service-]."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Make the connection, run, and close it."""
        names = ("vault_address", "vault_token_file", "vault_ca_file", "mount", "prefix")
        options = {name: ctx.params.pop(name) for name in names}
        with _connected(**options) as (declared, admin):
            ctx.params |= {"declared": declared, "admin": admin}
            return super().invoke(ctx)


@contextmanager
def _connected(
    *,
    vault_address: str | None,
    vault_token_file: Path,
    vault_ca_file: Path | None,
    mount: str | None,
    prefix: str | None,
) -> Iterator[tuple[Inventory, AdminTransit]]:
    """The declared inventory, and Vault with the token of the file."""
    known = _settings()
    address = vault_address or (known.vault_address if known is not None else None)
    if address is None:
        raise Failed(
            "Vault's address is not known",
            code="vault_address_missing",
            exit_code=ExitCode.USAGE,
            hint="--vault-address URL, or VAULT_SERVICE_VAULT_ADDRESS",
        )
    if known is not None:
        mount, prefix = mount or known.vault_mount, prefix or known.vault_prefix
        vault_ca_file = vault_ca_file or known.vault_ca_file
    declared = inventory.load(mount=mount, prefix=prefix)
    admin = AdminTransit(
        address=address,
        token=Secret(read_private(vault_token_file).strip()),
        mount=declared.mount,
        approle_prefix=declared.prefix,
        approle_mount=declared.approle_mount,
        ca_file=vault_ca_file,
    )
    try:
        yield declared, admin
    finally:
        admin.close()


def _settings() -> Settings | None:
    """The service's settings where this host has them; an operator's laptop has none."""
    try:
        return settings.load()
    except SettingsError:
        return None


@click.group("keys")
def group() -> None:
    """The keys and roles that Vault holds for the service."""


@group.command("plan", cls=_VaultCommand)
def plan(declared: Inventory, admin: AdminTransit) -> None:
    """Show what `apply` would change; changes nothing. Exit 5 where Vault differs."""
    changes = inventory.plan(declared, admin)
    _show_changes(changes, "Vault is as declared.")
    if changes:
        click.get_current_context().exit(ExitCode.CONFLICT)


@group.command("apply", cls=_VaultCommand)
def apply(declared: Inventory, admin: AdminTransit) -> None:
    """Bring Vault in line with the inventory. Exit 5 where people have to act."""
    changes = inventory.apply(declared, admin)
    _show_changes(changes, "Vault was as declared already.")
    if any(change.manual for change in changes):
        click.get_current_context().exit(ExitCode.CONFLICT)


@group.command("check", cls=_VaultCommand)
def check(declared: Inventory, admin: AdminTransit) -> None:
    """Show what makes the service unready. Exit 5 where something does."""
    drifts = inventory.check(declared, admin)
    if session().as_json:
        screen.write_json(
            {
                "ok": not drifts,
                "drifts": [
                    {"subject": drift.subject, "problem": drift.problem.value} for drift in drifts
                ],
            }
        )
    else:
        for drift in drifts:
            screen.write_line(str(drift))
        if not drifts:
            screen.write_line("Every key is as declared.")
    if drifts:
        click.get_current_context().exit(ExitCode.CONFLICT)


@group.command("secret-ids", cls=_VaultCommand)
@click.option("--role", "roles", multiple=True, help="Only this role; repeatable [all].")
@click.option(
    "--count", type=click.IntRange(1, 1000), default=4, help="Fresh ones to lie there [4]."
)
@click.option(
    "--spool",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to fill [VAULT_SERVICE_VAULT_SPOOL].",
)
def secret_ids(
    *,
    declared: Inventory,
    admin: AdminTransit,
    roles: tuple[str, ...],
    count: int,
    folder: Path | None,
) -> None:
    """Fill the spool with wrapped, single-use secret-ids for the service to log in with."""
    unknown = sorted(set(roles) - set(declared.roles))
    if unknown:
        raise click.UsageError(
            f"there is no role {unknown[0]}; there are {', '.join(declared.roles)}"
        )
    known = _settings()
    folder = folder or (known.vault_spool if known is not None else None)
    if folder is None:
        raise click.UsageError("name the folder with --spool, or set VAULT_SERVICE_VAULT_SPOOL")
    made = {
        role: spool.issue(admin, role, folder, count) for role in roles or tuple(declared.roles)
    }
    if session().as_json:
        screen.write_json({"folder": str(folder), "made": made})
    else:
        tables.write_table(("role", "made"), made.items())


def _show_changes(changes: list[inventory.Change], none: str) -> None:
    if session().as_json:
        screen.write_json(
            {"changes": [{"text": each.text, "manual": each.manual} for each in changes]}
        )
        return
    for each in changes:
        screen.write_line(str(each))
    if not changes:
        screen.write_line(none)
