"""Canonical JSON has one spelling for each value, and refuses every other."""

from __future__ import annotations

import json
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.ledger import canonical
from vault_service.ledger.canonical import CanonicalError, parse, serialise

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_reads_back(value: object) -> None:
    """A value survives writing and reading, and its bytes survive reading and writing."""
    data = serialise(value)
    assert parse(data) == value
    assert serialise(parse(data)) == data


@given(st.binary(max_size=60))
def test_reading_is_total(data: bytes) -> None:
    """Any bytes are either the canonical form of their value or refused with one error."""
    try:
        value = parse(data)
    except CanonicalError:
        return
    assert serialise(value) == data


def test_members_are_sorted_by_utf16_code_units() -> None:
    """The order is that of RFC 8785 section 3.2.3, which differs from that of code points."""
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\u00f6"]
    order = ["\r", "1", "\x80", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(parse(serialise(dict.fromkeys(names, 0)))) == order


def test_strings_have_the_shortest_escapes() -> None:
    """Controls are escaped as RFC 8785 section 3.2.2.2 says, all else is written as it is."""
    assert serialise('€$\x0f\nA\'B"\\\\"/\x7f\u2028') == (
        b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f\xe2\x80\xa8"'
    )
    assert serialise("\b\t\n\f\r\x01") == b'"\\b\\t\\n\\f\\r\\u0001"'


def test_text_of_an_enum_is_its_value() -> None:
    """A StrEnum is written as its text."""

    class Colour(StrEnum):
        RED = "red"

    assert serialise({"c": Colour.RED, "l": [Colour.RED]}) == b'{"c":"red","l":["red"]}'


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        float("nan"),
        2**53,
        -(2**53),
        b"bytes",
        {1, 2},
        {1: "number as a name"},
        "half \ud800",
        {"half \udfff": 1},
        [["\ud800"]],
        "x" * canonical.MAX_BYTES,
    ],
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """Fractions, large integers, other types, broken text and too much of it are refused."""
    with pytest.raises(CanonicalError):
        serialise(value)


def test_depth_is_bounded() -> None:
    """A value nested as deep as allowed passes, one deeper does not."""
    value: object = 1
    for _ in range(canonical.MAX_DEPTH):
        value = [value]
    assert parse(serialise(value)) == value
    with pytest.raises(CanonicalError):
        serialise([value])
    with pytest.raises(CanonicalError):
        parse(b"[" * 30_000 + b"]" * 30_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" {}",
        b"{} ",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u000A"',
        b'"\xff"',
        b'"\\ud800"',
        b"\xef\xbb\xbf{}",
        b"9007199254740992",
        b"1" * 5000,
        b"[1,]",
        b'"' + b"x" * canonical.MAX_BYTES + b'"',
    ],
)
def test_every_other_spelling_is_refused(data: bytes) -> None:
    """Whitespace, order, duplicates, other escapes and other numbers are not canonical."""
    with pytest.raises(CanonicalError):
        parse(data)


@given(st.dictionaries(TEXT, st.integers(0, 9), min_size=2, max_size=6))
def test_any_reader_of_json_reads_it(members: dict[str, int]) -> None:
    """Canonical bytes are JSON, so that an auditor's own tools read them."""
    assert json.loads(serialise(members)) == members
