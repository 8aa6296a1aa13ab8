"""What commands print: JSON for programs, tables for people. Nothing else writes to the terminal.

Results go to standard output, everything else to standard error, so that output can be piped.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vault_service.cli.session import Session

# Where output is not a terminal, nothing is cut to its width.
_WIDE: Final = 10_000
_NOTHING: Final = "-"


def console(*, error: bool = False) -> Console:
    """A console on standard output, or on standard error."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, markup=False, highlight=False, soft_wrap=True)


def encoded(value: object) -> str:
    """One JSON document, indented, with its line break."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def write_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(encoded(value))
    sys.stdout.flush()


def write_line(text: str) -> None:
    """Print one line as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Say something beside the result, to people."""
    if not _speaks_json():
        say(text)


def say(text: str) -> None:
    """Say something on standard error."""
    console(error=True).print(Text(shown(text)))


def warn(detail: str, *, code: str) -> None:
    """Say on standard error what is missing from the result."""
    if _speaks_json():
        sys.stderr.write(encoded({"warning": {"code": code, "detail": detail}}))
    else:
        say(detail)


def _speaks_json() -> bool:
    context = click.get_current_context(silent=True)
    session = None if context is None else context.find_object(Session)
    return session is not None and session.as_json


def shown(value: object) -> str:
    """A value as a terminal may show it: short, and without control characters."""
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(each) for each in value)
    text = str(value)
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing to show"
) -> None:
    """Print a table, or a sentence when it would be empty."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in {"id", "token", "key"})
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if table.row_count:
        _print(table)
    else:
        note(empty)


def write_facts(facts: Mapping[str, object]) -> None:
    """Print one thing: name and value in each line; what is unset is left out."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            table.add_row(Text(name), _cell(value))
    _print(table)


def _print(table: Table) -> None:
    screen = console()
    with screen.capture() as captured:
        screen.print(table, soft_wrap=False, crop=False)
    text = captured.get()
    # Cells are filled up with spaces, which only a terminal's colours have a use for.
    sys.stdout.write(text if screen.is_terminal else re.sub(r" +$", "", text, flags=re.MULTILINE))
    sys.stdout.flush()


def _cell(value: object) -> Text:
    return value if isinstance(value, Text) else Text(shown(value))
