"""The forms of the transparency report: nothing hidden shows, nothing in them does anything."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import msgspec
import pytest

from vault_service.cli.transparency import as_csv, as_html, as_text
from vault_service.client.accounting import TransparencyReport, TransparencyRow


def row(level: str, *path: str, clause: str | None = None, **counts: int | None) -> TransparencyRow:
    """A row whose counts are 20 but for those given."""
    names = ("category", "ground", "recipient_kind", "data_class")
    numbers = ("requests", "denied", "granted", "reveals", "values")
    filled: dict[str, Any] = dict(zip(names, (*path, *(None,) * (4 - len(path))), strict=True))
    plain: dict[str, Any] = dict.fromkeys(numbers, 20)
    return TransparencyRow(level=level, clause=clause, **(filled | plain | counts))


FOUND = TransparencyReport(
    year=2025,
    threshold=5,
    rows=[
        row("total", requests=1250, reveals=31_000, values=93_000),
        row("category", "personal_and_account", requests=1250),
        row("ground", "personal_and_account", "provide_service", clause="P1", reveals=30_000),
        row("recipient", "personal_and_account", "provide_service", "internal", denied=0),
        row("class", "personal_and_account", "provide_service", "internal", "several"),
        row(
            "ground", "personal_and_account", "protect_from_harm", clause="D1", reveals=None,
            values=None,
        ),
    ],
)  # fmt: skip
# What a policy's file cannot hold; whoever answers may not be the service.
HOSTILE = TransparencyReport(
    year=2025,
    threshold=5,
    rows=[
        row("ground", text, text, clause=text)
        for text in (
            "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "<script>x</script>", 'a"b,c',
            "\x1b[31mred",
        )
    ],
)  # fmt: skip


def test_a_text_says_what_is_hidden() -> None:
    """A table with each row set in by its level."""
    lines = as_text(FOUND).splitlines()
    assert lines[0] == "Disclosures in 2025 (UTC)"
    assert lines[2].split() == ["requests", "denied", "granted", "reveals", "values"]
    assert lines[3].split() == ["all", "disclosures", "1250", "20", "20", "31000", "93000"]
    assert lines[5].startswith("    provide service (P1)")
    assert lines[6].startswith("      internal")
    assert lines[7].startswith("        several classes")
    assert lines[8].split()[-2:] == ["hidden", "hidden"]
    assert "Counts from 1 to 4 are hidden" in as_text(FOUND)


def test_a_spreadsheet_reads_the_counts() -> None:
    """One row for each, with the level's places."""
    rows = list(csv.DictReader(io.StringIO(as_csv(FOUND), newline="")))
    assert len(rows) == len(FOUND.rows)
    assert rows[2]["ground"] == "provide_service"
    assert (rows[2]["clause"], rows[2]["reveals"], rows[2]["class"]) == ("P1", "30000", "")
    assert (rows[-1]["reveals"], rows[-1]["values"], rows[-1]["denied"]) == (
        "hidden", "hidden", "20",
    )  # fmt: skip


def test_no_cell_is_taken_for_a_formula() -> None:
    """Whatever somebody got into a name."""
    rows = list(csv.reader(io.StringIO(as_csv(HOSTILE), newline="")))
    assert len(rows) == 1 + len(HOSTILE.rows)
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_a_page_runs_and_loads_nothing() -> None:
    """Escaped, without script or address, and a bar only for what is shown."""
    page = as_html(HOSTILE)
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    page = as_html(FOUND)
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert not re.search(r"https?:|src=|href=|@import|url\(", page)
    assert page.count("<rect") == 2
    assert page.count("stroke-dasharray") == 1
    assert page.count('class="n hidden"') == 2


def test_a_text_sends_a_terminal_no_commands() -> None:
    """Control characters are shown as such."""
    assert "\x1b" not in as_text(HOSTILE)


@pytest.mark.parametrize("form", [as_text, as_csv, as_html])
def test_the_same_report_gives_the_same_bytes(form: Any) -> None:
    """Nothing of the moment or the machine stands in it."""
    again = msgspec.json.decode(msgspec.json.encode(FOUND), type=TransparencyReport)
    assert form(FOUND) == form(again)


def test_a_report_of_nothing_is_a_page() -> None:
    """A year before the service."""
    empty = TransparencyReport(
        year=1999,
        threshold=5,
        rows=[
            row("total", **dict.fromkeys(("requests", "denied", "granted", "reveals", "values"), 0))
        ],
    )
    assert "Disclosures in 1999" in as_html(empty)
    assert "all disclosures" in as_text(empty)
