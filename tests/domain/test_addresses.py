"""Postal addresses."""

from __future__ import annotations

from typing import Any

import phonenumbers
import pytest

from vault_service.domain import addresses
from vault_service.errors import InvalidInput


def address(**changes: Any) -> dict[str, Any]:
    """A good address with some fields changed; `...` removes a field."""
    fields = {
        "line1": "Lindenstraße 1",
        "city": "Köln",
        "postal_code": "50667",
        "country": "DE",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def refused(raw: object) -> InvalidInput:
    """The error that an address is refused with."""
    with pytest.raises(InvalidInput) as caught:
        addresses.parse(raw, pointer="/value")
    return caught.value


def test_the_parts_of_an_address() -> None:
    """Fields are kept as written; absent and null ones are absent; the country is upper case."""
    parsed = addresses.parse(address(country="de", line2=None, region=" NRW "), pointer="/value")
    assert dict(parsed.fields) == {
        "line1": "Lindenstraße 1",
        "city": "Köln",
        "region": "NRW",
        "postal_code": "50667",
        "country": "DE",
    }
    assert (parsed.country, parsed.postal_code) == ("DE", "50667")


def test_an_address_without_a_postal_code() -> None:
    """Some countries have none."""
    parsed = addresses.parse(address(postal_code=..., country="AE"), pointer="/value")
    assert parsed.postal_code is None


def test_an_address_does_not_show_itself() -> None:
    """Nothing of it stands in its repr."""
    assert "Linden" not in repr(addresses.parse(address(), pointer="/value"))


def test_what_counts_as_the_same() -> None:
    """Case, width and spaces do not matter, nor does the gap in a postal code."""
    one = addresses.parse(
        address(line1="10  DOWNING Street", postal_code="SW1A 2AA", country="GB"), pointer=""
    )
    other = addresses.parse(
        address(line1="10 Downing street", postal_code="sw1a2aa", country="gb"), pointer=""
    )
    assert one.comparable() == other.comparable()
    third = addresses.parse(address(line2="10 Downing street"), pointer="")
    assert third.comparable() != other.comparable()


@pytest.mark.parametrize(
    ("raw", "code", "pointer"),
    [
        ("Lindenstraße 1", "object_expected", "/value"),
        (None, "object_expected", "/value"),
        (address(line1=...), "field_missing", "/value/line1"),
        (address(city=...), "field_missing", "/value/city"),
        (address(country=...), "field_missing", "/value/country"),
        (address(line1=None), "string_expected", "/value/line1"),
        (address(city=""), "text_empty", "/value/city"),
        (address(zip="1"), "unknown_field", "/value"),
        (address(cvv="1"), "sensitive_authentication_data", "/value/cvv"),
        (address(country="XX"), "country_unknown", "/value/country"),
        (address(country="DEU"), "text_too_long", "/value/country"),
        (address(country="ß"), "country_unknown", "/value/country"),
        (address(postal_code=50667), "string_expected", "/value/postal_code"),
        (address(line1="4242 4242 4242 4242"), "card_number_not_allowed_here", "/value/line1"),
        (address(line2="x" * 201), "text_too_long", "/value/line2"),
        (address(city="a\nb"), "control_character", "/value/city"),
    ],
)
def test_wrong_addresses(raw: object, code: str, pointer: str) -> None:
    """Each has its code and points at its place."""
    error = refused(raw)
    assert (error.code, error.pointer) == (code, pointer)


def test_the_countries() -> None:
    """249 codes of the standard and Kosovo's; telephones know no region that is missing here."""
    assert len(addresses.COUNTRIES) == 250
    # Ascension and Tristan da Cunha are reserved exceptionally, not assigned: mail goes by SH.
    missing = set(phonenumbers.SUPPORTED_REGIONS) - addresses.COUNTRIES
    assert missing == {"AC", "TA"}
