"""`vault-service activity`: the log of what customers do."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import click

from vault_service.cli import activity_load, screen, tables
from vault_service.cli.commands import api
from vault_service.cli.exits import ExitCode
from vault_service.cli.session import session
from vault_service.cli.tokens import Time

_COLUMNS: Final = ("at", "kind", "segment")


@click.group("activity")
def group() -> None:
    """Add to customers' logs of activity, and list them, masked."""


@api(group, "list", "support", "billing")
@click.argument("customer")
@click.option("--from", "begin", type=Time(), help="The earliest [31 days before --to].")
@click.option("--to", "end", type=Time(), help="The first that is left out [now].")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True)
def list_(customer: str, begin: datetime | None, end: datetime | None, limit: int) -> None:
    """List when CUSTOMER did what kind of thing, oldest first."""
    with session().client() as client:
        found = list(islice(client.activity.list(customer, begin=begin, end=end), limit))
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        _COLUMNS, ((each.at, each.kind, each.segment) for each in found), empty="no activity"
    )


@api(group, "load", "billing", "support")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    help="How FILE is written [by its name].",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where it is written down how far it is [FILE.state].",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted load stopped.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=10_000, show_default=True)
def load(file: Path, *, form: str | None, state: Path | None, resume: bool, batch: int) -> None:
    """Add the entries of FILE: customer, at, kind and details on each line.

    Lines that are refused are told with their numbers, and the others are kept.
    """
    form = form or ("csv" if file.suffix == ".csv" else "jsonl")
    where = state or file.with_name(file.name + ".state")
    with session().client() as client:
        done = activity_load.run(
            client.activity,
            activity_load.Source(path=file, form=form, state=where, resume=resume, batch=batch),
            refused=lambda line, code: click.echo(f"line {line}: {code}", err=True),
        )
    facts = {"recorded": done.recorded, "refused": done.refused, "lines": done.line}
    if session().as_json:
        screen.write_json(facts)
    else:
        tables.write_facts(facts)
    if done.refused:
        raise click.exceptions.Exit(ExitCode.SOME_FAILED)
