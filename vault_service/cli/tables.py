"""Tables for people. Only commands that print some load this, and with it the library for them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vault_service.cli.screen import note, shown

# Where output is not a terminal, nothing is cut to its width.
_WIDE: Final = 10_000


def console(*, error: bool = False) -> Console:
    """A console on standard output, or on standard error."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, markup=False, highlight=False, soft_wrap=True)


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
