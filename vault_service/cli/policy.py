"""`vault-service policy`: read, check and compare policy files, without a running service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from vault_service import settings
from vault_service.cli import screen, tables
from vault_service.cli.commands import LazyGroup, PlainCommand
from vault_service.cli.session import session
from vault_service.domain.grounds import Ground, Policy
from vault_service.errors import SettingsError
from vault_service.policy import loader
from vault_service.policy.diff import diff

_F = TypeVar("_F", bound=Callable[..., Any])


def _path(name: str) -> Callable[[_F], _F]:
    """A policy file that must be given."""
    return click.argument(name, type=click.Path(path_type=Path, dir_okay=False, exists=True))


_file = click.argument(
    "file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True)
)


@click.group(
    "policy",
    cls=LazyGroup,
    lazy={
        name: f"vault_service.cli.policy_history:{name}" for name in ("history", "text", "changes")
    },
)
def group() -> None:
    """Read and check the disclosure policy, and see which was in force when."""


@group.command("show", cls=PlainCommand)
@_file
def show(file: Path | None) -> None:
    """Show the grounds of a policy file: FILE, the one in the settings, or the shipped one."""
    path = file or _configured()
    policy = loader.load(path)
    if session().as_json:
        screen.write_json({"file": str(path), **_plain(policy)})
        return
    tables.write_facts(
        {
            "policy": f"{policy.name} of {policy.dated}",
            "version": policy.version,
            "file": path,
        }
    )
    for category in policy.categories.values():
        screen.write_line(f"\n{category.name}: {category.says}")
        tables.write_table(
            ("ground", "clause", "approvals", "longest", "budget", "recipients", "evidence"),
            (
                (
                    ground.name,
                    ground.clause,
                    f"{ground.approvals}{' after determination' if ground.determination else ''}",
                    _limits(ground),
                    _budget(ground),
                    ground.recipients,
                    [each.name + ("" if each.required else "?") for each in ground.evidence],
                )
                for ground in policy.grounds.values()
                if ground.category == category.name
            ),
        )
    if policy.retention:
        screen.write_line("\nretention: what is older is destroyed, where no hold keeps it")
        tables.write_table(
            ("class", "kept"), ((name, _span(kept)) for name, kept in policy.retention.items())
        )
    screen.note("evidence with ? may be left out")


@group.command("check", cls=PlainCommand)
@_file
def check(file: Path | None) -> None:
    """Check a policy file; every contradiction is told with its line."""
    path = file or _configured()
    policy = loader.load(path)
    if session().as_json:
        screen.write_json({"file": str(path), "ok": True, "version": policy.version})
    else:
        screen.write_line(f"{path}: ok, {len(policy.grounds)} grounds, version {policy.version}")


@group.command("diff", cls=PlainCommand)
@_path("old")
@_path("new")
def diff_(old: Path, new: Path) -> None:
    """Tell in words what the policy NEW allows or forbids, compared with OLD."""
    before, after = loader.load(old), loader.load(new)
    found = diff(before, after)
    if session().as_json:
        screen.write_json(
            {
                "old": before.version,
                "new": after.version,
                "differences": [
                    {"effect": each.effect, "where": each.where, "says": each.says}
                    for each in found
                ],
            }
        )
        return
    tables.write_table(
        ("effect", "where", "what"), ((each.effect.value, each.where, each.says) for each in found)
    )
    if not found:
        screen.note("both policies decide alike and read alike")


def _limits(ground: Ground) -> str:
    marks = {"stands": ground.stands, "DPoP": ground.proof_of_possession}
    return ", ".join([_span(ground.longest), *(name for name, holds in marks.items() if holds)])


def _budget(ground: Ground) -> str | None:
    if ground.budget is None:
        return None
    told = {"h": ground.budget.per_hour, "d": ground.budget.per_day}
    return ", ".join(f"{limit}/{span}" for span, limit in told.items() if limit is not None)


def _span(time: timedelta) -> str:
    return f"{time.days} d" if time.days > 1 else f"{time.total_seconds() / 3600:g} h"


def _configured() -> Path:
    """The policy file of the settings; the shipped one where there are none."""
    try:
        return settings.load().policy_file
    except SettingsError:
        return settings.Settings().policy_file


def _plain(policy: Policy) -> dict[str, object]:
    return {
        "name": policy.name,
        "dated": policy.dated,
        "version": policy.version,
        "clauses": policy.clauses,
        "recipients": policy.recipients,
        "categories": [
            {"name": each.name, "says": each.says, "classes": each.classes}
            for each in policy.categories.values()
        ],
        "grounds": [_ground(each) for each in policy.grounds.values()],
        "retention_days": {name: kept.days for name, kept in policy.retention.items()},
    }


def _ground(ground: Ground) -> dict[str, object]:
    return {
        "name": ground.name,
        "category": ground.category,
        "clause": ground.clause,
        "says": ground.says,
        "recipients": ground.recipients,
        "approvals": ground.approvals,
        "determination": None if ground.determination is None else ground.determination.says,
        "determination_binds": [] if ground.determination is None else ground.determination.binds,
        "longest_seconds": int(ground.longest.total_seconds()),
        "token_seconds": int(ground.token_life.total_seconds()),
        "stands": ground.stands,
        "uses": ground.uses,
        "proof_of_possession": ground.proof_of_possession,
        "budget": None
        if ground.budget is None
        else {"per_hour": ground.budget.per_hour, "per_day": ground.budget.per_day},
        "evidence": [
            {
                "name": each.name,
                "type": each.type,
                "says": each.says,
                "required": each.required,
                "choices": each.choices,
            }
            for each in ground.evidence
        ],
    }
