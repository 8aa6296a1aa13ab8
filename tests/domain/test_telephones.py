"""Telephone numbers."""

from __future__ import annotations

import phonenumbers
import pytest

from vault_service.domain import telephones
from vault_service.errors import InvalidInput

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def refused(raw: object) -> InvalidInput:
    """The error that a number is refused with."""
    with pytest.raises(InvalidInput) as caught:
        telephones.parse(raw, pointer="/value")
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize("region", REGIONS)
def test_the_example_of_every_region(region: str) -> None:
    """Each example number is taken in every way of writing it, and becomes one E.164 form."""
    number = phonenumbers.example_number(region)
    assert number is not None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    for form in (0, 1, 3):  # E.164, international, RFC 3966
        written = phonenumbers.format_number(number, form)
        assert telephones.parse(written, pointer="/value").e164 == e164
    in_region = telephones.parse({"number": e164, "region": region.lower()}, pointer="/value")
    assert in_region.e164 == e164
    national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    assert telephones.parse({"number": national, "region": region}, pointer="").e164 == e164
    assert in_region.e164 == f"+{in_region.country_code}{in_region.national}"


def test_a_national_number_with_its_region() -> None:
    """The region says how to read a number without a plus."""
    parsed = telephones.parse({"number": "030 901820", "region": "DE"}, pointer="/value")
    assert (parsed.e164, parsed.country_code, parsed.national, parsed.region) == (
        "+4930901820",
        49,
        "30901820",
        "DE",
    )


def test_leading_zeros_of_italy_are_kept() -> None:
    """Italian numbers begin with 0 inside the international form."""
    assert telephones.parse("+39 06 698 1234", pointer="/value").e164 == "+39066981234"


def test_a_number_of_no_country() -> None:
    """An international freephone number is good and has no region."""
    assert telephones.parse("+800 1234 5678", pointer="/value").region is None


@pytest.mark.parametrize("raw", ["030 901820", "0049 30 901820", "(201) 555-0123"])
def test_a_number_without_plus_needs_its_region(raw: str) -> None:
    """Nothing is guessed; the error says what to send instead."""
    error = refused(raw)
    assert (error.code, error.pointer) == ("telephone_region_missing", "/value")
    assert error.hint is not None


@pytest.mark.parametrize(
    "raw",
    [
        "+",
        "+49",
        "+4930",
        "+49 30 abc",
        "+49 30 9O1820",
        "1-800-FLOWERS",
        "+999 1234567",
        "hello",
        "+1 555 0100",
        "+" + "1" * 30,
    ],
)
def test_what_is_no_number(raw: str) -> None:
    """Impossible, unassigned and unreadable numbers are refused without an echo."""
    error = refused(raw)
    assert error.code in {"telephone_invalid", "telephone_region_missing"}
    assert not any(char.isdigit() for char in error.detail)


def test_a_possible_number_must_also_be_assigned() -> None:
    """A number of good length in no assigned range is refused, and told apart in the text."""
    error = refused("+1 201 055 0123")
    assert error.code == "telephone_invalid"
    assert "numbering plan" in error.detail


@pytest.mark.parametrize("raw", ["+49 30 901820 ext. 5", "+49 30 901820;ext=12", "+493090182 x7"])
def test_extensions_are_refused(raw: str) -> None:
    """E.164 has no place for them, and dropping one silently would lose it."""
    assert refused(raw).code == "telephone_extension_refused"


@pytest.mark.parametrize(
    ("raw", "code", "pointer"),
    [
        (4930901820, "string_expected", "/value"),
        (None, "string_expected", "/value"),
        ("", "text_empty", "/value"),
        ("+49" * 30, "text_too_long", "/value"),
        ({}, "field_missing", "/value/number"),
        ({"number": "1"}, "field_missing", "/value/region"),
        ({"number": "1", "region": "DE", "x": 1}, "unknown_field", "/value"),
        ({"number": "1", "region": "DE", "pin": 1}, "sensitive_authentication_data", "/value/pin"),
        ({"number": "1", "region": "XX"}, "telephone_region_unknown", "/value/region"),
        ({"number": "1", "region": "DEU"}, "text_too_long", "/value/region"),
        ({"number": 1, "region": "DE"}, "string_expected", "/value/number"),
        ({"number": "1", "region": 49}, "string_expected", "/value/region"),
        ({"number": "1", "region": "DE"}, "telephone_invalid", "/value/number"),
        ({"number": "x", "region": "DE"}, "telephone_invalid", "/value/number"),
    ],
)
def test_wrong_shapes(raw: object, code: str, pointer: str) -> None:
    """Each has its code and points at its place."""
    error = refused(raw)
    assert (error.code, error.pointer) == (code, pointer)
