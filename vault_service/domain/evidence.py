"""What evidence a ground asks for, and the check of one piece of it.

Evidence is sealed, and still no card number, verification code or track may stand in it: the first
belongs into a record of its own, the others nowhere (PCI DSS 3.3.1). Nothing here repeats what was
written, because refusals travel into answers and logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

from vault_service.domain import freetext
from vault_service.errors import InvalidInput


class EvidenceType(StrEnum):
    """What a piece of evidence is.

    `document` is the SHA-256 of a document (`sha256:` and 64 hex digits) that the requester has
    uploaded, so that a decision is bound to the very document that was looked at.
    """

    TEXT = "text"
    CHOICE = "choice"
    DATE = "date"
    REFERENCE = "reference"
    DOCUMENT = "document"


class When(StrEnum):
    """What a date must be, at the time of the decision."""

    ANY = "any"
    PAST = "past"
    FUTURE = "future"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceField:
    """One thing that must, or may, be shown.

    Attributes:
        name: lower snake case.
        type: what it is.
        says: what is asked for, in words, for people.
        required: whether the request is refused without it.
        choices: what a `choice` can be.
        longest: longest `text` or `reference`, in characters.
        when: what a `date` must be.
    """

    name: str
    type: EvidenceType
    says: str
    required: bool = True
    choices: tuple[str, ...] = ()
    longest: int = 200
    when: When = When.ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with a piece of evidence: a stable code and a sentence without its text."""

    code: str
    detail: str


# date.fromisoformat also reads weeks and dates without dashes.
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DIGEST: Final = "sha256:"
_DOCUMENT: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
# A date has no time zone, and a day begins up to 14 hours before it does in UTC.
_ZONES: Final = timedelta(hours=14)

# A verification code in prose: its name, perhaps "is", and three or four digits.
CODE_IN_PROSE: Final = re.compile(
    r"\b(?:cvc|cvv|cav|cvn|cvd|cid|csc|pin)[123]?(?:[ \t]+(?:code|number|no))?"
    r"(?:[ \t:=#.]{1,3}|[ \t]+is[ \t]+)[0-9]{3,4}\b"
    r"|\b(?:security|verification|validation)[ \t]+(?:code|number|value)"
    r"(?:[ \t:=#.]{1,3}|[ \t]+is[ \t]+)[0-9]{3,4}\b",
    re.IGNORECASE | re.ASCII,
)


def read_date(value: str) -> date | None:
    """The day that `YYYY-MM-DD` names, or None."""
    if _DATE.fullmatch(value) is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def read_digest(value: str) -> bytes | None:
    """The digest that `sha256:` and 64 hex digits name, or None."""
    if _DOCUMENT.fullmatch(value) is None:
        return None
    return bytes.fromhex(value.removeprefix(_DIGEST))


def write_digest(digest: bytes) -> str:
    """A document's digest as evidence names it."""
    return _DIGEST + digest.hex()


def end_of_day(day: date) -> datetime:
    """The first instant after a day, in UTC."""
    try:
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def check(field: EvidenceField, value: str, now: datetime) -> Problem | None:
    """What is wrong with `value` as evidence for `field` at the time `now`, or None."""
    return _CHECKS[field.type](field, value, now)


def check_prose(value: str, *, longest: int, multiline: bool) -> Problem | None:
    """What is wrong with a text that people wrote, or None."""
    try:
        freetext.check_text(value, pointer=None, max_length=longest, multiline=multiline)
    except InvalidInput as error:
        return Problem(code=error.code, detail=error.detail)
    if CODE_IN_PROSE.search(value) is not None:
        return Problem(
            code="verification_code_not_allowed_here",
            detail="verification codes and pins are never accepted",
        )
    return None


def _text(field: EvidenceField, value: str, _now: datetime) -> Problem | None:
    return check_prose(value, longest=field.longest, multiline=True)


def _reference(field: EvidenceField, value: str, _now: datetime) -> Problem | None:
    return check_prose(value, longest=field.longest, multiline=False)


def _choice(field: EvidenceField, value: str, _now: datetime) -> Problem | None:
    if value in field.choices:
        return None
    return Problem(
        code="evidence_choice_unknown", detail=f"this must be one of: {', '.join(field.choices)}"
    )


def _date(field: EvidenceField, value: str, now: datetime) -> Problem | None:
    day = read_date(value)
    if day is None:
        return Problem(code="evidence_date_malformed", detail="this must be a date, YYYY-MM-DD")
    if field.when is When.PAST and day > (now + _ZONES).date():
        return Problem(code="evidence_date_future", detail="this date must not lie in the future")
    if field.when is When.FUTURE and end_of_day(day) <= now:
        return Problem(code="evidence_date_past", detail="this date has passed")
    return None


def _document(_field: EvidenceField, value: str, _now: datetime) -> Problem | None:
    if _DOCUMENT.fullmatch(value) is not None:
        return None
    return Problem(
        code="evidence_document_malformed",
        detail="this must be the document's digest: sha256: and 64 hex digits",
    )


_CHECKS: Final[Mapping[EvidenceType, Callable[[EvidenceField, str, datetime], Problem | None]]] = {
    EvidenceType.TEXT: _text,
    EvidenceType.CHOICE: _choice,
    EvidenceType.DATE: _date,
    EvidenceType.REFERENCE: _reference,
    EvidenceType.DOCUMENT: _document,
}
