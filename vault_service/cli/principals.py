"""`vault-service principals`: who may call, with which roles and keys."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

import click

from vault_service import settings
from vault_service.cli import screen, tables
from vault_service.cli.commands import PlainCommand, api
from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.session import DEFAULT_URL, session, write_private
from vault_service.cli.tokens import Time
from vault_service.client import Client, models
from vault_service.domain.actors import Role
from vault_service.errors import SettingsError
from vault_service.settings import ProcessRole

_PREFIX: Final = "prn_"
_SELF: Final = "me"
_READERS: Final = ("operator", "officer", "auditor")

_key_out = click.option(
    "--key-out",
    type=click.Path(path_type=Path),
    help="Write the new key to a new file (0600) instead of showing it.",
)
_expires = click.option("--expires-at", type=Time(), help="When the key ends.")
_roles = click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice([role.value for role in Role]),
    help="Repeatable.",
)


@click.group("principals")
def group() -> None:
    """Who may call, with which roles and keys. PRINCIPAL is an id or a name."""


@group.command("first", cls=PlainCommand)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="New file (0600) for their keys, in the form of a credentials file.",
)
def first(output: Path) -> None:
    """Make the first principals of an empty vault: one for each role, and two officers.

    Runs with the settings of the console: its database login. Works once; in a vault that has
    principals it makes none and exits with 5. --url is written into the file.
    """
    # Loaded here, because no other command of this group runs as the service.
    from vault_service.bootstrap.process import build  # noqa: PLC0415
    from vault_service.cli.first_run import make_first  # noqa: PLC0415

    _check_free(output)
    found = settings.load(overrides={"process_role": ProcessRole.CONSOLE.value})
    services = build(found)
    try:
        if services.principals is None:
            raise SettingsError("this process role has no principals")
        issued = make_first(services.principals, output, session().url or DEFAULT_URL)
    finally:
        services.close()
    if session().as_json:
        screen.write_json({"file": str(output), "principals": [each.principal for each in issued]})
        return
    tables.write_table(
        ("id", "name", "roles"),
        ((each.principal.id, each.principal.name, each.principal.roles) for each in issued),
    )
    screen.write_line(
        f"\nTheir keys are in {output}. Hand each to its holder, then delete the file."
    )


@api(group, "create", "operator")
@click.argument("name")
@_roles
@_expires
@_key_out
def create(
    *, name: str, roles: tuple[str, ...], expires_at: datetime | None, key_out: Path | None
) -> None:
    """Make a principal with its first key, which is shown this once.

    The key of a requester or an officer counts when an officer has confirmed it.
    """
    _check_free(key_out)
    with session().client() as client:
        _show_issued(client.principals.create(name, roles, key_expires_at=expires_at), key_out)


@api(group, "list", *_READERS)
def list_principals() -> None:
    """List the principals."""
    with session().client() as client:
        found = list(client.principals.list())
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("id", "name", "roles", "state", "keys", "last used"),
        (
            (
                each.id,
                each.name,
                each.roles,
                each.state,
                sum(key.state == "active" for key in each.keys),
                max((key.last_used_at for key in each.keys if key.last_used_at), default=None),
            )
            for each in found
        ),
    )


@api(group, "show", *_READERS, "requester", "billing", "support")
@click.argument("principal", default=_SELF)
def show(principal: str) -> None:
    """Show a principal and its keys; yourself when nobody is named."""
    with session().client() as client:
        _show(client.principals.get(_resolved(client, principal)))


@api(group, "issue-key", "operator")
@click.argument("principal")
@_expires
@_key_out
def issue_key(*, principal: str, expires_at: datetime | None, key_out: Path | None) -> None:
    """Make another key, which is shown this once; `me` makes one for yourself."""
    _check_free(key_out)
    with session().client() as client:
        issued = client.principals.issue_key(_resolved(client, principal), expires_at=expires_at)
    _show_issued(issued, key_out)


@api(group, "rotate-key", "operator")
@click.argument("principal")
@click.argument("key", metavar="KEY")
@_expires
@_key_out
def rotate_key(
    *, principal: str, key: str, expires_at: datetime | None, key_out: Path | None
) -> None:
    """Make a new key and end KEY (key_…) in one step."""
    _check_free(key_out)
    with session().client() as client:
        issued = client.principals.issue_key(
            _resolved(client, principal), expires_at=expires_at, revoke=key
        )
    _show_issued(issued, key_out)


@api(group, "revoke-key", "operator")
@click.argument("principal")
@click.argument("key", metavar="KEY")
def revoke_key(principal: str, key: str) -> None:
    """End KEY (key_…); acts on the next request."""
    with session().client() as client:
        _show(client.principals.revoke_key(_resolved(client, principal), key))


@api(group, "confirm-key", "officer")
@click.argument("principal")
@click.argument("key", metavar="KEY")
def confirm_key(principal: str, key: str) -> None:
    """Let KEY (key_…) of a requester or an officer count; an officer's step."""
    with session().client() as client:
        _show(client.principals.confirm_key(_resolved(client, principal), key))


@api(group, "disable", "operator")
@click.argument("principal")
def disable(principal: str) -> None:
    """Stop a principal; its keys count no more."""
    with session().client() as client:
        _show(client.principals.disable(_resolved(client, principal)))


@api(group, "enable", "operator")
@click.argument("principal")
def enable(principal: str) -> None:
    """Let a principal go on."""
    with session().client() as client:
        _show(client.principals.enable(_resolved(client, principal)))


@api(group, "set-roles", "operator")
@click.argument("principal")
@_roles
def set_roles(principal: str, roles: tuple[str, ...]) -> None:
    """Give a principal these roles and no others."""
    with session().client() as client:
        _show(client.principals.set_roles(_resolved(client, principal), roles))


def _resolved(client: Client, principal: str) -> str:
    """The id of a principal that was named by id or by name.

    Raises:
        Failed: nobody has this name.
    """
    if principal == _SELF or principal.startswith(_PREFIX):
        return principal
    for each in client.principals.list():
        if each.name == principal:
            return each.id
    raise Failed(
        "there is no principal of this name",
        code="principal_not_found",
        exit_code=ExitCode.NOT_FOUND,
        hint="vault-service principals list shows all of them",
    )


def _check_free(key_out: Path | None) -> None:
    """Before a key is made that could not be written down.

    Raises:
        Failed: there is such a file, or no such folder.
    """
    if key_out is not None and (key_out.exists() or not key_out.parent.is_dir()):
        raise Failed(
            "the new key could not be written there",
            code="file_error",
            exit_code=ExitCode.USAGE,
            hint="--key-out names a new file in a folder that exists",
        )


def _show_issued(issued: models.IssuedKey, key_out: Path | None) -> None:
    if key_out is not None:
        write_private(key_out, issued.key + "\n")
    if session().as_json:
        kept = {"file": str(key_out)} if key_out is not None else {"key": issued.key}
        screen.write_json(
            {"id": issued.id, "state": issued.state, **kept, "principal": issued.principal}
        )
        return
    _show(issued.principal)
    if key_out is None:
        screen.write_line(f"\nThe new key, shown this once:\n{issued.key}")
    else:
        screen.write_line(f"\nThe new key is in {key_out}.")
    if issued.state == "pending":
        screen.note(
            "It counts when an officer has confirmed it:"
            f" vault-service principals confirm-key {issued.principal.id} {issued.id}"
        )


def _show(principal: models.Principal) -> None:
    if session().as_json:
        screen.write_json(principal)
        return
    tables.write_facts(
        {
            "id": principal.id,
            "name": principal.name,
            "roles": principal.roles,
            "state": principal.state,
            "created": principal.created_at,
        }
    )
    tables.write_table(
        ("key", "state", "created", "expires", "last used", "created by", "confirmed by"),
        (
            (
                key.id,
                key.state,
                key.created_at,
                key.expires_at,
                key.last_used_at,
                key.created_by,
                key.confirmed_by,
            )
            for key in principal.keys
        ),
        empty="no keys",
    )
