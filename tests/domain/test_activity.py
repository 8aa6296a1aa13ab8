"""Entries of activity: which are taken, and how times and kinds are packed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from vault_service.domain import activity, tokens
from vault_service.domain.activity import EARLIEST, NUMBERS, Entry, Kind
from vault_service.errors import InvalidInput

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=14))


def taken(at: datetime = NOW, kind: str = "signed_in", details: object = None) -> Entry:
    """An entry that is taken."""
    return activity.entry(at, kind, details, now=NOW, pointer="/items/3")


def test_an_entry_is_kept_in_utc() -> None:
    """Its words do not show."""
    entry = taken(datetime(2026, 11, 25, 3, tzinfo=EAST), details=" from 192.0.2.7 ")
    assert entry.at == datetime(2026, 11, 24, 13, tzinfo=UTC)
    assert entry.at.tzinfo is UTC
    assert entry.details == "from 192.0.2.7"
    assert "192" not in repr(entry)


@pytest.mark.parametrize(
    ("at", "kind", "details", "code", "pointer"),
    [
        (NOW + timedelta(hours=2), "other", None, "activity_time_invalid", "/items/3/at"),
        (EARLIEST - timedelta(seconds=1), "other", None, "activity_time_invalid", "/items/3/at"),
        (datetime.min.replace(tzinfo=EAST), "other", None, "activity_time_invalid", "/items/3/at"),
        (datetime.max.replace(tzinfo=EAST), "other", None, "activity_time_invalid", "/items/3/at"),
        (NOW, "bought", None, "activity_kind_unknown", "/items/3/kind"),
        (NOW, "other", "", "text_empty", "/items/3/details"),
        (NOW, "other", 5, "string_expected", "/items/3/details"),
        (NOW, "other", "x" * 2001, "text_too_long", "/items/3/details"),
        (
            NOW,
            "payment_made",
            "card 4242 4242 4242 4242",
            "card_number_not_allowed_here",
            "/items/3/details",
        ),
    ],
)
def test_what_is_no_entry(
    at: datetime, kind: str, details: object, code: str, pointer: str
) -> None:
    """Each with its code and its place."""
    with pytest.raises(InvalidInput) as refused:
        taken(at, kind, details)
    assert (refused.value.code, refused.value.pointer) == (code, pointer)


def test_kinds_keep_their_numbers() -> None:
    """They stand in stored rows: a number that moved would tell of another thing."""
    assert [(kind.value, NUMBERS[kind]) for kind in Kind] == [
        ("signed_in", 1),
        ("sign_in_failed", 2),
        ("signed_out", 3),
        ("credentials_changed", 4),
        ("profile_changed", 5),
        ("service_ordered", 6),
        ("service_changed", 7),
        ("service_ended", 8),
        ("service_used", 9),
        ("invoice_issued", 10),
        ("payment_made", 11),
        ("payment_failed", 12),
        ("refund_made", 13),
        ("message_sent", 14),
        ("message_received", 15),
        ("contacted", 16),
        ("complained", 17),
        ("other", 18),
    ]


def test_marks_are_packed_and_unpacked() -> None:
    """Ten bytes for each entry, to the microsecond."""
    entries = [
        taken(NOW - timedelta(microseconds=number * 12345), kind)
        for number, kind in enumerate(Kind)
    ]
    packed = activity.pack(entries)
    assert len(packed) == activity.MARK_BYTES * len(entries)
    assert list(activity.unpack(packed)) == [(entry.at, entry.kind) for entry in entries]


@pytest.mark.parametrize("packed", [b"1", bytes(10), b"\x7f" + bytes(8) + b"\x01"])
def test_what_are_no_marks(packed: bytes) -> None:
    """Whatever somebody wrote into the row, it is one error."""
    with pytest.raises(ValueError, match="no marks"):
        list(activity.unpack(packed))


def test_the_month_is_that_of_utc() -> None:
    """And a segment's name leads to it."""
    assert activity.month_of(datetime(2026, 12, 1, 3, tzinfo=EAST)) == date(2026, 11, 1)
    for month in (date(2000, 1, 1), date(2026, 12, 1), date(2085, 4, 1)):
        name = tokens.new_segment_id(1023, month)
        assert tokens.segment_place(name) == (1023, month)
        assert tokens.bucket_of_value(name) == 1023
    assert tokens.segment_place("tok_" + "0" * 28) is None
    assert tokens.bucket_of_value("tok_" + "0" * 28) == 0
    for month in (date(1999, 12, 1), date(2085, 5, 1)):
        with pytest.raises(ValueError, match="months are counted"):
            tokens.new_segment_id(0, month)
    with pytest.raises(InvalidInput):
        tokens.bucket_of_value("act_nothing", pointer="/tokens/0")
