"""`vault-service retention`: what the policy keeps for a time, and what is past it."""

from __future__ import annotations

import click

from vault_service import settings
from vault_service.cli import screen, tables
from vault_service.cli.commands import PlainCommand
from vault_service.cli.session import session


@click.group("retention")
def group() -> None:
    """See what the policy's retention would end."""


@group.command("plan", cls=PlainCommand)
def plan() -> None:
    """Count what is past its time, and what a legal hold keeps; nothing is done.

    Looks at every record; logs in to the database as the worker. Of activity it counts segments.
    """
    from vault_service.bootstrap import upkeep  # noqa: PLC0415 -- the whole service is behind it

    with upkeep.retention(settings.load()) as retention:
        found = retention.plan()
    if session().as_json:
        screen.write_json(
            {
                "items": [
                    {
                        "class": each.data_class,
                        "keep_days": each.keep.days,
                        "due": each.due,
                        "held": each.held,
                    }
                    for each in found
                ]
            }
        )
        return
    tables.write_table(
        ("class", "kept for", "past it", "held"),
        ((each.data_class, f"{each.keep.days} d", each.due, each.held) for each in found),
        empty="the policy names no retention: everything is kept until somebody erases it",
    )
