"""The auditor's report as one page: no script, nothing loaded, drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

import jinja2
from markupsafe import Markup, escape

_WIDTH: Final = 880
_NAMES: Final = 240
_ROW: Final = 22
_HEIGHT: Final = 180
_BAND: Final = 44
# Days of the longest cryptoperiod that the chart of ages makes room for.
_LONGEST_PERIOD: Final = 730
_BAR: Final = Markup(
    '<rect x="{x}" y="{y}" width="{width:.1f}" height="12" rx="2" fill="{fill}" stroke="{stroke}"/>'
)
_TEXT: Final = Markup('<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>')
_LINE: Final = Markup('<line x1="{x:.1f}" y1="{y1}" x2="{x:.1f}" y2="{y2}" stroke="currentColor"/>')
_LEVEL: Final = Markup('<line x1="{x1}" y1="{y:.1f}" x2="{x2}" y2="{y:.1f}" stroke="var(--line)"/>')
_CURVE: Final = Markup(
    '<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'
)
_FRAME: Final = Markup('<svg viewBox="0 0 {width} {height}" role="img">{inner}</svg>')


def page(report: Mapping[str, Any]) -> str:
    """The report as HTML; the same report gives the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files("vault_service.cli") / "templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html").render(
        r=report,
        ages=_ages(report["keys"]),
        ages_over_time=_ages_over_time(report["keys"], report["period"]),
        progress={each["rotation"]: _progress(each["progress"]) for each in report["rotations"]},
    )


def _ages(keys: Sequence[Mapping[str, Any]]) -> Markup:
    """A bar for each key: its age, and a mark where its cryptoperiod ends."""
    ages = [key["age_days"] or 0 for key in keys]
    periods = [key["cryptoperiod_days"] or 0 for key in keys]
    # A key that is kept for ten years must not make all other bars too short to compare.
    longest = max(1, *ages, *(days for days in periods if days <= _LONGEST_PERIOD))
    scale = (_WIDTH - _NAMES - 60) / longest
    parts: list[Markup] = []
    for number, key in enumerate(keys):
        top = 4 + number * _ROW
        age, exact = key["age_days"], bool(key["versions"]) and key["versions"][-1]["exact"]
        colour = "var(--bad)" if key["overdue"] else "var(--mark)"
        parts.append(_TEXT.format(x=_NAMES - 10, y=top + 11, anchor="end", text=key["key"]))
        if age is not None:
            width = max(1.0, age * scale)
            parts.append(
                _BAR.format(
                    x=_NAMES,
                    y=top,
                    width=width,
                    fill=colour if exact else "var(--soft)",
                    stroke=colour,
                )
            )
            parts.append(_TEXT.format(x=_NAMES + width + 6, y=top + 11, anchor="start", text=age))
        if key["cryptoperiod_days"] is not None and key["cryptoperiod_days"] <= longest:
            at = _NAMES + key["cryptoperiod_days"] * scale
            parts.append(_LINE.format(x=at, y1=top - 3, y2=top + 15))
    return _frame(8 + len(keys) * _ROW, parts)


def _ages_over_time(keys: Sequence[Mapping[str, Any]], period: Mapping[str, str]) -> Markup:
    """A band for each key: its age over the period, and a level where its cryptoperiod ends."""
    first, last = _moment(period["from"]), _moment(period["to"])
    across = (_WIDTH - _NAMES - 60) / (last - first)
    parts: list[Markup] = []
    for number, key in enumerate(keys):
        base = 4 + (number + 1) * _BAND
        points = key["ages"]
        limit = key["cryptoperiod_days"]
        oldest = max((point["age_days"] for point in points), default=0)
        shown = limit is not None and limit <= max(2 * oldest, 1)
        up = (_BAND - 10) / max(1, oldest, limit if shown else 0)
        parts.append(_TEXT.format(x=_NAMES - 10, y=base, anchor="end", text=key["key"]))
        parts.append(_TEXT.format(x=_WIDTH - 50, y=base, anchor="start", text=oldest))
        if shown:
            parts.append(_LEVEL.format(x1=_NAMES, x2=_WIDTH - 60, y=base - limit * up))
        places = " ".join(
            f"{_NAMES + (_moment(point['at']) - first) * across:.1f},"
            f"{base - point['age_days'] * up:.1f}"
            for point in points
        )
        colour = "var(--bad)" if limit is not None and oldest >= limit else "var(--mark)"
        parts.append(_CURVE.format(places=places, colour=colour))
    foot = 4 + len(keys) * _BAND + 20
    parts.append(_TEXT.format(x=_NAMES, y=foot, anchor="start", text=period["from"]))
    parts.append(_TEXT.format(x=_WIDTH - 60, y=foot, anchor="end", text=period["to"]))
    return _frame(foot + 8, parts)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _progress(points: Sequence[Mapping[str, Any]]) -> Markup:
    """A line from the first rewrapped batch to the last."""
    if not points:
        return _frame(30, [_TEXT.format(x=0, y=18, anchor="start", text="nothing to rewrap")])
    times = [_moment(point["at"]) for point in points]
    first, spent = times[0], max(times[-1] - times[0], 1.0)
    most = max(point["rewrapped"] for point in points) or 1
    places = " ".join(
        f"{60 + (at - first) / spent * (_WIDTH - 80):.1f},"
        f"{_HEIGHT - 30 - point['rewrapped'] / most * (_HEIGHT - 50):.1f}"
        for at, point in zip(times, points, strict=True)
    )
    return _frame(
        _HEIGHT,
        [
            Markup(
                '<polyline points="60,{base} {places}" fill="none" stroke="var(--mark)"'
                ' stroke-width="2"/>'
            ).format(base=_HEIGHT - 30, places=places),
            _TEXT.format(x=54, y=24, anchor="end", text=most),
            _TEXT.format(x=54, y=_HEIGHT - 26, anchor="end", text=0),
            _TEXT.format(x=60, y=_HEIGHT - 8, anchor="start", text=points[0]["at"]),
            _TEXT.format(x=_WIDTH - 20, y=_HEIGHT - 8, anchor="end", text=points[-1]["at"]),
        ],
    )


def _frame(height: int, parts: Sequence[Markup]) -> Markup:
    return _FRAME.format(width=_WIDTH, height=height, inner=Markup("").join(map(escape, parts)))
