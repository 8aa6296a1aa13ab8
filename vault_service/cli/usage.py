"""`vault-service usage`: how the company's website is used, in four forms."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import click

from vault_service.cli import screen
from vault_service.cli.commands import ApiCommand
from vault_service.cli.session import session
from vault_service.client.usage import Usage

_COLUMNS: Final = ("day", "page", "referrer", "views", "visitors")
_DAY: Final = click.DateTime(["%Y-%m-%d"])


@click.command("usage", cls=ApiCommand, roles=("operator", "auditor", "officer"))
@click.option("--from", "since", type=_DAY, help="First day, in UTC [31 days up to the last].")
@click.option("--to", "until", type=_DAY, help="Last day, in UTC [today].")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv", "html"]),
    help="[text, or json with --json]",
)
def usage(since: datetime | None, until: datetime | None, form: str | None) -> None:
    """Tell how the website is used: views and visitors by day, page and domain.

    Counts are rounded down to tens; below ten they are `<10`.
    """
    period = {"since": since and since.date(), "until": until and until.date()}
    form = form or ("json" if session().as_json else "text")
    with session().client() as client:
        if form == "html":
            made = client.usage.chart(**period)
        else:
            made = _FORMS[form](client.usage.period(**period))
    click.echo(made, nl=False)


def as_text(found: Usage) -> str:
    """A table for a fixed-width page."""
    rows = [_COLUMNS, *_cells(found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join((f"Use of the website, {found.since} to {found.until} (UTC)", "", *lines, ""))


def as_csv(found: Usage) -> str:
    """A table for a spreadsheet (RFC 4180); pages begin with `/`, no cell with a formula's sign."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    writer.writerows(_cells(found))
    return stream.getvalue()


_FORMS: Final[Mapping[str, Callable[[Usage], str]]] = {
    "text": as_text,
    "json": screen.encoded,
    "csv": as_csv,
}


def _cells(found: Usage) -> list[tuple[str, ...]]:
    return [
        (
            str(row.day),
            screen.shown(row.page),
            screen.shown(row.referrer),
            str(row.views),
            str(row.visitors),
        )
        for row in found.rows
    ]
