"""What a run found: rows, kept as JSON, shown as a table, as Markdown and as a drawing."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

FORMAT: Final = 1
# Two runs on one machine differ by about this much; a smaller change says nothing.
NOISE: Final = 0.10
_WIDTH, _ROW, _LEFT = 900, 22, 330


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement.

    Attributes:
        case: what was done.
        records: stored at that time.
        clients: how many at once.
        per_second: calls in a second.
        values: values in a second, where a call has many.
        floor: what it is held against, in the same unit as `per_second`, or as `values` if there.
        target: least ratio to the floor, or None where none is set.
        limit_ms: longest p50 that is allowed, or None.
        ratio: overrides what follows from `floor`: growth, and others that are no rates.
        at_most: `ratio` must not exceed it.
    """

    case: str
    records: int = 0
    clients: int = 1
    per_second: float = 0.0
    values: float | None = None
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    errors: int = 0
    floor_name: str = ""
    floor: float | None = None
    target: float | None = None
    limit_ms: float | None = None
    ratio: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def against(self) -> float | None:
        """The ratio to the floor, if there is one."""
        if self.ratio is not None:
            return self.ratio
        if not self.floor:
            return None
        return (self.values if self.values is not None else self.per_second) / self.floor

    @property
    def met(self) -> bool | None:
        """Whether every target of the row is met; None where it has none."""
        found = self.against
        checks = []
        if self.target is not None:
            checks.append(found is not None and found >= self.target)
        if self.at_most is not None:
            checks.append(found is not None and found <= self.at_most)
        if self.limit_ms is not None:
            checks.append(0 < self.p50 <= self.limit_ms)
        return all(checks) if checks else None

    @property
    def key(self) -> str:
        """What the same measurement of another run is found by."""
        return f"{self.case} | {self.records} | {self.clients}"


def this_machine() -> dict[str, Any]:
    """What it ran on; the load average tells whether it had the machine for itself."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


@dataclass(slots=True, kw_only=True)
class Result:
    """A whole run."""

    options: Mapping[str, Any]
    machine: Mapping[str, Any] = field(default_factory=this_machine)
    at: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """All errors; must be 0."""
        return sum(row.errors for row in self.rows)

    def save(self, folder: Path) -> Path:
        """Write JSON and drawing; the JSON's name."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.at.replace(':', '').replace('-', '')}.json"
        body = {
            "format": FORMAT,
            "at": self.at,
            "options": self.options,
            "machine": self.machine,
            "facts": self.facts,
            "rows": [asdict(row) for row in self.rows],
        }
        file.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".svg").write_text(drawing(self.rows), encoding="utf-8")
        return file


def load(file: Path) -> Result:
    """A run that was saved.

    Raises:
        ValueError: it is of another format.
    """
    body = json.loads(file.read_text(encoding="utf-8"))
    if body.get("format") != FORMAT:
        raise ValueError(f"{file} is not a result of this bench")
    return Result(
        options=body["options"],
        machine=body["machine"],
        at=body["at"],
        facts=body["facts"],
        rows=[Row(**row) for row in body["rows"]],
    )


HEADINGS: Final = (
    "case", "records", "clients", "calls/s", "values/s", "p50 ms", "p95 ms", "p99 ms", "errors",
    "ratio", "target", "of",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """A row as texts, one for each heading."""

    def number(value: float | None, form: str = ",.0f") -> str:
        return format(value, form) if value else ""

    found = row.against
    wanted = []
    if row.target is not None:
        wanted.append(f"≥ {row.target:g}")
    if row.at_most is not None:
        wanted.append(f"≤ {row.at_most:g}")
    if row.limit_ms is not None:
        wanted.append(f"p50 ≤ {row.limit_ms:g} ms")
    verdict = {None: "", True: " ✓", False: " ✗"}[row.met]
    return (
        row.case,
        number(row.records, ","),
        str(row.clients),
        number(row.per_second, ",.0f" if row.per_second >= 10 else ".2f"),
        number(row.values),
        number(row.p50, ".2f"),
        number(row.p95, ".2f"),
        number(row.p99, ".2f"),
        str(row.errors),
        number(found, ".2f"),
        " ".join(wanted) + verdict,
        row.floor_name or row.note,
    )


def table(rows: Iterable[Row]) -> Table:
    """For a terminal."""
    shown = Table(*HEADINGS)
    for row in rows:
        style = {None: "", True: "green", False: "red"}[row.met]
        shown.add_row(*cells(row), style=style)
    return shown


def markdown(result: Result) -> str:
    """For docs/performance.md."""
    lines = [
        (
            f"Run of {result.at}: {result.machine['cores']} cores ({result.machine['cpu']}), Python"
            f" {result.machine['python']}, load average before {result.machine['load_before']}."
        ),
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|" + "---|" * len(HEADINGS),
    ]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in result.rows]
    lines += ["", "| fact | |", "|---|---|"]
    lines += [f"| {name} | {told(value)} |" for name, value in result.facts.items()]
    return "\n".join(lines) + "\n"


def told(value: object) -> str:
    """A fact as text."""
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, list | tuple):
        return ", ".join(told(each) for each in value)
    return str(value)


def compare(old: Result, new: Result, console: Console) -> int:
    """Show how the rows changed; how many became worse than noise explains.

    Ratios are compared where both have them, because the machine may have been another.
    """
    before = {row.key: row for row in old.rows}
    shown = Table("case", "records", "clients", "before", "now", "change", "unit")
    worse = 0
    for row in new.rows:
        former = before.get(row.key)
        if former is None:
            continue
        was, now, unit = former.against, row.against, "ratio"
        if was is None or now is None or row.at_most is not None:
            was, now, unit = former.per_second, row.per_second, "calls/s"
        if not was or not now:
            continue
        change = now / was - 1
        bad = change < -NOISE
        worse += bad
        shown.add_row(
            row.case, f"{row.records:,}", str(row.clients), f"{was:,.2f}", f"{now:,.2f}",
            f"{change:+.0%}", unit, style="red" if bad else "green" if change > NOISE else "",
        )  # fmt: skip
    console.print(shown)
    return worse


def drawing(rows: Sequence[Row]) -> str:
    """Ratios to their floors as bars, with their targets as lines: an SVG by itself."""
    held = [row for row in rows if row.against is not None and row.at_most is None]
    height = _ROW * (len(held) + 2)
    widest = max([1.2, *(min(row.against or 0, 3.0) for row in held)])
    scale = (_WIDTH - _LEFT - 70) / widest
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
            ' font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        (
            f'<line x1="{_LEFT + scale:.0f}" x2="{_LEFT + scale:.0f}" y1="8" y2="{height - 20}"'
            ' stroke="#999" stroke-dasharray="3"/>'
        ),
        f'<text x="{_LEFT + scale:.0f}" y="{height - 6}" text-anchor="middle">floor</text>',
    ]
    for place, row in enumerate(held):
        top = 10 + place * _ROW
        ratio = row.against or 0.0
        colour = {None: "#7a8aa0", True: "#2e8b57", False: "#c0392b"}[row.met]
        name = f"{row.case}, {row.clients} clients, {row.records:,}"
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">{_escaped(name)}</text>',
            (
                f'<rect x="{_LEFT}" y="{top}" width="{min(ratio, widest) * scale:.1f}"'
                f' height="{_ROW - 6}" fill="{colour}"/>'
            ),
            (
                f'<text x="{_LEFT + min(ratio, widest) * scale + 5:.1f}" y="{top + 13}">'
                f"{ratio:.2f}</text>"
            ),
        ]
        if row.target is not None:
            at = _LEFT + row.target * scale
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top - 2}" y2="{top + _ROW - 4}"'
                ' stroke="#000" stroke-width="2"/>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
