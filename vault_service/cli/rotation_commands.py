"""`vault-service keys rotate|rotations|status`: the service's own view of Vault's keys."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

import click
from rich.text import Text

from vault_service import settings
from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.key_commands import group
from vault_service.cli.session import session
from vault_service.client.rotations import Rotation, VaultKey
from vault_service.errors import SettingsError

_READERS: Final = ("operator", "auditor")
_POLL: Final = 2.0


@api(group, "rotate", "operator")
@click.argument("key")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Follow it to its end; exit 5 where it halts.")
@click.option(
    "--reencrypt",
    "anew",
    is_flag=True,
    help="Then seal every value under KEY anew, here, as keys reencrypt does.",
)
def rotate(key: str, *, yes: bool, wait: bool, anew: bool) -> None:
    """Ask for the rotation of KEY; the worker rewraps, verifies and retires.

    Repeating it changes nothing while a rotation is under way, and sets one going again that has
    halted. --reencrypt is for a key that somebody knows: it waits for the end, and needs the logins
    of keys reencrypt beside those of an operator.
    """
    if anew:
        _require_logins(key)
    if not yes:
        click.confirm(f"Rotate {key}?", abort=True, err=True)
    with session().client() as client:
        rotation = client.rotations.start(key)
        while (wait or anew) and rotation.state not in {"done", "failed"}:
            screen.note(_progress(rotation))
            time.sleep(_POLL)
            rotation = client.rotations.get(rotation.id)
    if (wait or anew) and rotation.state == "failed":
        raise Failed(
            f"{rotation.failed} keys were refused by Vault; nothing was retired",
            code="rotation_halted",
            exit_code=ExitCode.CONFLICT,
            hint="repair or erase their rows, then ask again",
        )
    if anew:
        screen.note(_progress(rotation))
        click.get_current_context().invoke(group.commands["reencrypt"], key=key, yes=True)
    elif session().as_json:
        screen.write_json(rotation)
    else:
        screen.write_line(_progress(rotation))


def _require_logins(key: str) -> None:
    """Return if what seals values anew can be run from here; asked before anything is begun.

    Raises:
        Failed: it cannot; the hint says what can.
    """
    with suppress(SettingsError):
        found = settings.load()
        if found.database_owner_url is not None and found.vault_spool is not None:
            return
    raise Failed(
        "values are sealed anew where the owner's logins are",
        code="reencrypt_elsewhere",
        exit_code=ExitCode.USAGE,
        hint="rotate without --reencrypt; then, with VAULT_SERVICE_DATABASE_OWNER_URL and"
        f" a spool of reveal and ingest: vault-service keys reencrypt {key}",
    )


@api(group, "rotations", *_READERS)
def rotations() -> None:
    """List the rotations, newest first."""
    with session().client() as client:
        found = list(client.rotations.list())
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("id", "key", "state", "versions", "rewrapped", "left", "asked by", "asked", "ended"),
        (
            (
                each.id,
                each.key,
                Text(each.state, style="bold red") if each.state == "failed" else each.state,
                f"{each.from_version} -> {each.to_version}" if each.to_version else None,
                each.rewrapped,
                each.remaining,
                each.requested_by,
                each.requested_at,
                each.finished_at,
            )
            for each in found
        ),
    )


@api(group, "status", *_READERS)
def status() -> None:
    """Show every key: version, age, when it is due, and what lies under each version."""
    with session().client() as client:
        found = client.rotations.keys()
    if session().as_json:
        screen.write_json({"keys": found})
        return
    tables.write_table(
        ("key", "purpose", "version", "opens from", "age in days", "due", "wrapped", "rotation"),
        (
            (
                each.name,
                each.purpose,
                each.version,
                each.min_decryption_version,
                each.age_days,
                _due(each),
                ", ".join(f"v{version} {count}" for version, count in each.wrapped.items()),
                each.rotation,
            )
            for each in found
        ),
    )


def _progress(rotation: Rotation) -> str:
    words = [f"{rotation.key}: {rotation.id} is {rotation.state}"]
    if rotation.to_version is not None:
        words.append(f"version {rotation.from_version} -> {rotation.to_version}")
        words.append(f"{rotation.rewrapped} of {rotation.total} rewrapped")
    if rotation.seconds_left is not None:
        words.append(f"{rotation.rate or 0:.0f}/s, {rotation.seconds_left:.0f} s left")
    return ", ".join(words)


def _due(key: VaultKey) -> object:
    if not key.exists:
        return Text("missing", style="bold red")
    if key.overdue:
        return Text(f"overdue since {screen.shown(key.due)}", style="bold red")
    return key.due
