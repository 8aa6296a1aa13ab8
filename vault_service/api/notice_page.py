"""The notice to a customer, as a page to print and as plain text; no script, nothing loaded."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

import jinja2

from vault_service.services.notices import CustomerNotice, NoticeLine

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
# Where the name in the interface is no word that a customer would use.
_WORDS: Final = {
    "exp_month": "month of expiry",
    "exp_year": "year of expiry",
    "line1": "address line 1",
    "line2": "address line 2",
    "name": "name on it",
    "activity_log": "record of activity",
    "service_choice": "choice of services",
    "communication": "contents of communications",
}
# A class that is one text has one field, of which there is nothing to say.
_WHOLE: Final = ("value",)
# The page is its own style sheet, and may do nothing else.
POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def html(notice: CustomerNotice) -> bytes:
    """The notice as a page of A4."""
    return _render("notice.html", notice)


def text(notice: CustomerNotice) -> bytes:
    """The notice as plain text."""
    return _render("notice.txt", notice)


def _render(name: str, notice: CustomerNotice) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files("vault_service.api") / "templates")),
        autoescape=jinja2.select_autoescape(("html",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return (
        environment.get_template(name)
        .render(
            customer=notice.customer,
            date=_day(notice.at),
            lines=[
                {"when": _when(line), "what": _what(line), "line": line, "to": _to(line)}
                for line in notice.lines
            ],
            more=notice.more,
        )
        .encode()
    )


def _when(line: NoticeLine) -> str:
    first, last = _day(line.first), _day(line.last)
    times = "once" if line.times == 1 else f"{line.times} times"
    return f"{first}, {times}" if first == last else f"{first} to {last}, {times}"


def _what(line: NoticeLine) -> str:
    if line.fields in {(), _WHOLE}:
        return _word(line.data_class)
    return f"{_word(line.data_class)}: {', '.join(_word(name) for name in line.fields)}"


def _to(line: NoticeLine) -> str:
    kind = _word(line.recipient_kind)
    return kind if line.recipient_says is None else f"{kind}: {line.recipient_says}"


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))


def _day(at: datetime) -> str:
    day = at.astimezone(UTC)
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
