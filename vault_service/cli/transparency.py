"""`vault-service disclosures report`: the yearly transparency report, in four forms.

Each form is made from what the service answers and from nothing else, so the same year gives the
same bytes, and none shows a number that the interface hides.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

import click
import jinja2

from vault_service.cli import screen
from vault_service.cli.commands import ApiCommand
from vault_service.cli.exits import Failed
from vault_service.cli.session import session
from vault_service.client.accounting import TransparencyReport, TransparencyRow

HIDDEN: Final = "hidden"
_MEASURES: Final = ("requests", "denied", "granted", "reveals", "values")
_PLACES: Final = ("category", "ground", "clause", "recipient_kind", "data_class")
_COLUMNS: Final = ("level", "category", "ground", "clause", "recipient_kind", "class", *_MEASURES)
# A spreadsheet takes a text that begins so for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


@click.command("report", cls=ApiCommand, roles=("officer", "auditor"))
@click.option("--year", type=int, required=True, help="A calendar year (UTC) that is over.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv", "html"]),
    help="[text, or json with --json]",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write a file that is not there."
)
def report(year: int, form: str | None, out: Path | None) -> None:
    """Report on a year's disclosures in numbers, small ones hidden, for the public."""
    with session().client() as client:
        found = client.accounting.transparency(year)
    made = _FORMS[form or ("json" if session().as_json else "text")](found)
    if out is None:
        click.echo(made, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8", newline="") as stream:
            stream.write(made)
    except OSError as error:
        raise Failed(
            f"{out} cannot be made: {(error.strerror or 'unknown reason').lower()}",
            code="file_error",
            hint="choose a name that is free",
        ) from error
    screen.note(f"the report of {year} is in {out}")


def as_text(found: TransparencyReport) -> str:
    """A table for a fixed-width page."""
    rows: list[tuple[str, ...]] = [("", *_MEASURES)]
    rows += [(_name(row), *map(_count, _counts(row).values())) for row in found.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join((f"Disclosures in {found.year} (UTC)", "", *lines, "", *_notes(found), ""))


def as_csv(found: TransparencyReport) -> str:
    """A table for a spreadsheet (RFC 4180); no cell of it is taken for a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    for row in found.rows:
        texts = [row.level, *(getattr(row, place) or "" for place in _PLACES)]
        writer.writerow([*map(_harmless, texts), *map(_count, _counts(row).values())])
    return stream.getvalue()


def as_html(found: TransparencyReport) -> str:
    """One page, with a chart, that loads nothing and runs nothing."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files("vault_service.cli") / "templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    of_grounds = [row for row in found.rows if row.level == "ground"]
    return environment.get_template("transparency.html").render(
        year=found.year,
        threshold=found.threshold,
        measures=_MEASURES,
        rows=[
            {"level": row.level, "name": _label(row), "clause": row.clause, "counts": _counts(row)}
            for row in found.rows
        ],
        grounds=[
            {"name": _words(row.ground), "category": _words(row.category), "counts": _counts(row)}
            for row in of_grounds
        ],
        most=max((row.reveals or 0 for row in of_grounds), default=0) or 1,
        notes=_notes(found),
    )


_FORMS: Final[Mapping[str, Callable[[TransparencyReport], str]]] = {
    "text": as_text,
    "json": screen.encoded,
    "csv": as_csv,
    "html": as_html,
}


def _counts(row: TransparencyRow) -> dict[str, int | None]:
    return {measure: getattr(row, measure) for measure in _MEASURES}


def _count(count: int | None) -> str:
    return HIDDEN if count is None else str(count)


def _name(row: TransparencyRow) -> str:
    """The row's own place, set in by its level."""
    depth = ("total", "category", "ground", "recipient", "class").index(row.level)
    clause = f" ({row.clause})" if row.level == "ground" and row.clause else ""
    return "  " * depth + screen.shown(_label(row) + clause)


def _label(row: TransparencyRow) -> str:
    own = {
        "category": row.category,
        "ground": row.ground,
        "recipient": row.recipient_kind,
        "class": row.data_class,
    }
    return _words(own.get(row.level) or "all disclosures")


def _words(name: str | None) -> str:
    return "several classes" if name == "several" else (name or "").replace("_", " ")


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _notes(found: TransparencyReport) -> tuple[str, ...]:
    return (
        "requests: submitted in the year; denied: by an officer; granted: approved by all that it",
        "takes; reveals: times that data were handed out; values: pieces of data in them.",
        f"Counts from 1 to {found.threshold - 1} are hidden, and others where one could be worked",
        "out from them; denied and granted are hidden together. Rows below a ground are left out",
        "where they have no number to show.",
    )
