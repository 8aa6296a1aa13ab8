"""Usage as a page with a chart: no script, nothing loaded, no number that the interface hides."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from typing import Final

import jinja2

from vault_service.domain.usage import EVERY, FEW, LEAST

Row = tuple[date, str, str, int | str, int | str]

_TEMPLATES: Final = files("vault_service.api") / "templates"
_STYLE: Final = (_TEMPLATES / "usage.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# One style sheet, known by its hash, and nothing else at all.
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def html(since: date, until: date, rows: Sequence[Row]) -> bytes:
    """The page; of each row day, page, domain, and views and visitors as they may be shown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(_TEMPLATES)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    days = [
        {"day": day, "views": views, "visitors": visitors}
        for day, page, referrer, views, visitors in reversed(rows)
        if page == referrer == EVERY
    ]
    most = max((views for _, _, _, views, _ in rows if isinstance(views, int)), default=LEAST)
    return (
        environment.get_template("usage.html")
        .render(
            since=since,
            until=until,
            days=days,
            rows=[row for row in rows if row[1:3] != (EVERY, EVERY)],
            most=most,
            few=FEW,
            every=EVERY,
            style=_STYLE,
        )
        .encode()
    )
