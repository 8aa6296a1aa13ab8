"""An entry of a customer's activity log: when, of which kind, and what happened in words.

Time and kind may be shown, because the kind is of a closed list; the words are sealed. A kind's
number stands in stored rows: it never changes its meaning and is never used again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from vault_service.domain import freetext
from vault_service.errors import InvalidInput

DETAILS_LENGTH: Final = 2000
# Clocks of two machines differ; what is further ahead is no log of what has happened.
AHEAD: Final = timedelta(hours=1)
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """What kind of thing happened."""

    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    CREDENTIALS_CHANGED = "credentials_changed"
    PROFILE_CHANGED = "profile_changed"
    SERVICE_ORDERED = "service_ordered"
    SERVICE_CHANGED = "service_changed"
    SERVICE_ENDED = "service_ended"
    SERVICE_USED = "service_used"
    INVOICE_ISSUED = "invoice_issued"
    PAYMENT_MADE = "payment_made"
    PAYMENT_FAILED = "payment_failed"
    REFUND_MADE = "refund_made"
    MESSAGE_SENT = "message_sent"
    MESSAGE_RECEIVED = "message_received"
    CONTACTED = "contacted"
    COMPLAINED = "complained"
    OTHER = "other"


NUMBERS: Final[Mapping[Kind, int]] = MappingProxyType(
    {kind: number for number, kind in enumerate(Kind, 1)}
)
_KINDS: Final[Mapping[str, Kind]] = MappingProxyType({kind.value: kind for kind in Kind})
_NUMBERED: Final[Mapping[int, Kind]] = MappingProxyType(
    {number: kind for kind, number in NUMBERS.items()}
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MARK: Final = struct.Struct(">qH")
MARK_BYTES: Final = _MARK.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. Nothing of its words shows in its repr."""

    at: datetime
    kind: Kind
    details: str | None = field(default=None, repr=False)


def entry(at: datetime, kind: str, details: object, *, now: datetime, pointer: str) -> Entry:
    """An entry as it is kept.

    Args:
        at: when it happened, with an offset.
        kind: name of a kind.
        details: a text, or None.
        now: the time of the call.
        pointer: JSON pointer to the entry.

    Raises:
        InvalidInput: `activity_time_invalid`, `activity_kind_unknown`, and as `freetext.check_text`
            for the details.
    """
    if not EARLIEST <= at <= now + AHEAD:
        raise InvalidInput(
            "an entry is of the year 2000 or later, and not of the future",
            code="activity_time_invalid",
            pointer=f"{pointer}/at",
        )
    found = _KINDS.get(kind)
    if found is None:
        raise InvalidInput(
            "there is no such kind of activity",
            code="activity_kind_unknown",
            pointer=f"{pointer}/kind",
        )
    if details is not None:
        details = freetext.check_text(
            details, pointer=f"{pointer}/details", max_length=DETAILS_LENGTH, multiline=True
        )
    return Entry(at=at.astimezone(UTC), kind=found, details=details)


def month_of(at: datetime) -> date:
    """The first day of the month, in UTC, in which something happened."""
    at = at.astimezone(UTC)
    return date(at.year, at.month, 1)


def pack(entries: Sequence[Entry]) -> bytes:
    """Times and kinds of entries: for each, microseconds since 1970 as i64 and the kind as u16."""
    return b"".join(
        [_MARK.pack((each.at - _EPOCH) // _MICROSECOND, NUMBERS[each.kind]) for each in entries]
    )


def unpack(marks: bytes) -> Iterator[tuple[datetime, Kind]]:
    """What `pack` packed.

    Raises:
        ValueError: these are no marks.
    """
    try:
        for micros, number in _MARK.iter_unpack(marks):
            yield _EPOCH + micros * _MICROSECOND, _NUMBERED[number]
    except (struct.error, KeyError, OverflowError) as error:
        raise ValueError("these are no marks of entries") from error
