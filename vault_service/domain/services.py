"""A choice of service: what a customer takes, from which day, and until when.

The service's own code, and the days, may be shown: a code is one word of a closed form, so that
nobody writes a name or a remark into it. What was agreed in words is `details`, which is sealed
and never shown. This module may not judge which services there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from vault_service.domain import freetext
from vault_service.errors import InvalidInput

FIELDS: Final = ("service", "since", "until", "details")
DETAILS_LENGTH: Final = 2000

# At most 11 digits, so that no card number is a code.
_CODE: Final = re.compile(
    r"(?=[a-z])(?!(?:[^0-9]*[0-9]){12})[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII
)
CODE_LENGTH: Final = 64
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChoice:
    """A parsed choice; `until` is the first day without the service, None while there is none."""

    service: str
    since: date
    until: date | None
    details: str | None = field(repr=False)


def parse(raw: object, *, pointer: str) -> ServiceChoice:
    """A choice from `{"service", "since", "until"?, "details"?}`.

    Raises:
        InvalidInput: `object_expected`, `field_missing`, `unknown_field`, `service_code_invalid`,
            `date_invalid`, `period_invalid`, `sensitive_authentication_data`, and as
            `freetext.check_text` for the details.
    """
    if not isinstance(raw, Mapping):
        raise InvalidInput(
            "a choice is an object with service and since", code="object_expected", pointer=pointer
        )
    freetext.check_forbidden_fields(raw, pointer)
    if raw.keys() - set(FIELDS):
        raise InvalidInput(
            f"a choice has {', '.join(FIELDS)} only", code="unknown_field", pointer=pointer
        )
    since = _day(raw.get("since"), f"{pointer}/since")
    until = None if raw.get("until") is None else _day(raw["until"], f"{pointer}/until")
    if until is not None and until < since:
        raise InvalidInput(
            "a service ends on the day it begins or later",
            code="period_invalid",
            pointer=f"{pointer}/until",
        )
    details = raw.get("details")
    return ServiceChoice(
        service=check_code(raw.get("service"), pointer=f"{pointer}/service"),
        since=since,
        until=until,
        details=None
        if details is None
        else freetext.check_text(
            details, pointer=f"{pointer}/details", max_length=DETAILS_LENGTH, multiline=True
        ),
    )


def check_code(raw: object, *, pointer: str) -> str:
    """The code of a service: `hosting.basic`, lower case, digits, inner dots, dashes, underscores.

    Raises:
        InvalidInput: `service_code_invalid`.
    """
    if not isinstance(raw, str) or len(raw) > CODE_LENGTH or _CODE.fullmatch(raw) is None:
        raise InvalidInput(
            "a service's code is one word of a-z, 0-9 and inner . _ -, and begins with a letter",
            code="service_code_invalid",
            pointer=pointer,
        )
    return raw


def _day(raw: object, pointer: str) -> date:
    # `fromisoformat` alone also takes weeks and other spellings of a day.
    if isinstance(raw, str) and _DAY.fullmatch(raw) is not None:
        try:
            return date.fromisoformat(raw)
        except ValueError:
            pass
    raise InvalidInput("this is not a day such as 2026-11-25", code="date_invalid", pointer=pointer)
