# ruff: noqa: RUF001 -- digits and dashes of other scripts are what is tested
"""Parsing of payment cards."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest

from vault_service.cli.sample_cards import NUMBERS
from vault_service.domain import cards
from vault_service.domain.brands import Brand
from vault_service.errors import InvalidInput

TODAY = date(2026, 11, 23)
NUMBER = "4242424242424242"


def card(**changes: Any) -> dict[str, Any]:
    """A good card with some fields changed; None as `...` removes a field."""
    fields = {"number": NUMBER, "exp_month": 12, "exp_year": 2030, **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def refused(raw: object, today: date = TODAY) -> InvalidInput:
    """The error that a card is refused with."""
    with pytest.raises(InvalidInput) as caught:
        cards.parse(raw, today=today, pointer="/value")
    return caught.value


@pytest.mark.parametrize("number", NUMBERS)
def test_every_published_number_is_taken(number: str) -> None:
    """Each published test number parses to its own digits."""
    parsed = cards.parse(card(number=number), today=TODAY, pointer="/value")
    assert parsed.number == number


@pytest.mark.parametrize(
    "written",
    [
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        " 42424242 42424242 ",
        "4242\u00a04242\u20094242\u30004242",
        "4242\u20134242\u22124242\uff0d4242",
        "４２４２４２４２４２４２４２４２",
        "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",
    ],
)
def test_spaces_dashes_and_digits_of_any_script(written: str) -> None:
    """A number may be written as people write it; what is kept are its digits."""
    assert cards.parse_number(written, pointer="/value/number") == NUMBER


def test_the_parts_of_a_card() -> None:
    """Brand, expiry and name are kept beside the number."""
    parsed = cards.parse(card(name=" A. Customer "), today=TODAY, pointer="/value")
    assert (parsed.brand, parsed.exp_month, parsed.exp_year) == (Brand.VISA, 12, 2030)
    assert parsed.name == "A. Customer"
    assert cards.parse(card(name=None), today=TODAY, pointer="/value").name is None


def test_a_card_does_not_show_itself() -> None:
    """Neither number nor name stands in the repr of a card."""
    shown = repr(cards.parse(card(name="A. Customer"), today=TODAY, pointer="/value"))
    assert NUMBER not in shown
    assert "Customer" not in shown


@pytest.mark.parametrize(
    "number",
    [
        "4242424242424241",  # check digit
        "4242 4242 4242 42X2",
        "4242.4242.4242.4242",
        "424242424242",  # 12 digits
        "42424242424242424242",  # 20 digits
        "0000000000000000",
        "0000000000000000000",
        "55555555555544440",  # Mastercard of 17 digits
        "424242424242424",  # Visa of 15 digits
        "42 4242 4242 4242 ²",
        "----",
    ],
)
def test_wrong_numbers_have_one_code(number: str) -> None:
    """Whatever is wrong with a number, the code is the same and the number is not repeated."""
    error = refused(card(number=number))
    assert (error.code, error.pointer) == ("card_number_invalid", "/value/number")
    assert not re.search(r"\d{3}", f"{error.detail} {error.hint}")


def test_a_known_brand_must_have_a_length_of_its_own() -> None:
    """A Luhn-valid number of a brand that never has its length is refused by name of the brand."""
    error = refused(card(number="424242424242424"))
    assert error.code == "card_number_invalid"
    assert error.detail == "visa issues no card numbers of this length"


def test_an_unknown_brand_is_taken() -> None:
    """A Luhn-valid number of no listed range is kept, as brand unknown."""
    parsed = cards.parse(card(number="7000000000000005"), today=TODAY, pointer="/value")
    assert parsed.brand is Brand.UNKNOWN


def test_unionpay_numbers_need_their_check_digit() -> None:
    """Old domestic UnionPay numbers without a good check digit are refused like any other."""
    assert refused(card(number="6200000000000004")).code == "card_number_invalid"


def test_a_card_is_good_to_the_end_of_its_month() -> None:
    """The month of today is still good, the one before is not."""
    assert cards.parse(card(exp_month=11, exp_year=2026), today=TODAY, pointer="/value")
    last = date(2026, 11, 30)
    assert cards.parse(card(exp_month=11, exp_year=2026), today=last, pointer="/value")
    error = refused(card(exp_month=11, exp_year=2026), today=date(2026, 12, 1))
    assert (error.code, error.pointer) == ("card_expired", "/value/exp_year")
    assert refused(card(exp_month=12, exp_year=2025)).code == "card_expired"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"exp_month": 0}, "exp_month"),
        ({"exp_month": 13}, "exp_month"),
        ({"exp_month": -1}, "exp_month"),
        ({"exp_year": 30}, "exp_year"),
        ({"exp_year": 2057}, "exp_year"),
        ({"exp_year": 99999}, "exp_year"),
    ],
)
def test_impossible_expiry(changes: dict[str, int], place: str) -> None:
    """A month beyond twelve, a year of two digits or more than 30 years ahead is refused."""
    error = refused(card(**changes))
    assert (error.code, error.pointer) == ("card_expiry_invalid", f"/value/{place}")


def test_thirty_years_ahead_is_the_furthest() -> None:
    """The bound itself is good."""
    assert cards.parse(card(exp_year=2056), today=TODAY, pointer="/value").exp_year == 2056


@pytest.mark.parametrize("wrong", ["12", 12.0, True, None, [12]])
def test_expiry_is_whole_numbers(wrong: object) -> None:
    """Text, fractions and booleans are no months; nothing is guessed."""
    error = refused(card(exp_month=wrong))
    assert (error.code, error.pointer) == ("integer_expected", "/value/exp_month")


@pytest.mark.parametrize("missing", ["number", "exp_month", "exp_year"])
def test_required_fields(missing: str) -> None:
    """Number, month and year must be there."""
    error = refused(card(**{missing: ...}))
    assert (error.code, error.pointer) == ("field_missing", f"/value/{missing}")


@pytest.mark.parametrize("field", ["cvc", "CVV2", "security-code", "track_2", "pin"])
def test_sensitive_authentication_data_is_never_taken(field: str) -> None:
    """A verification code beside a card is refused, not dropped."""
    error = refused(card(**{field: "123"}))
    assert error.code == "sensitive_authentication_data"
    assert error.pointer == f"/value/{field}"


def test_unknown_fields_are_refused() -> None:
    """A field that a card does not have is refused without repeating its name."""
    error = refused(card(zip_of_customer="10115"))
    assert (error.code, error.pointer) == ("unknown_field", "/value")


@pytest.mark.parametrize("raw", ["4242424242424242", 4242424242424242, None, [NUMBER]])
def test_a_card_is_an_object(raw: object) -> None:
    """A bare number lacks the expiry and is refused."""
    assert refused(raw).code == "object_expected"


def test_a_number_is_text() -> None:
    """A JSON number would lose digits in other systems, so it is refused."""
    assert refused(card(number=4242424242424242)).code == "string_expected"


def test_the_holders_name_is_no_card_number() -> None:
    """A second number cannot hide in the name."""
    error = refused(card(name="4111 1111 1111 1111"))
    assert (error.code, error.pointer) == ("card_number_not_allowed_here", "/value/name")
    assert refused(card(name="x" * 101)).code == "text_too_long"


def test_a_search_needs_the_number_only() -> None:
    """Text or an object will do, and an expired card is still found."""
    assert cards.search_number("4242 4242 4242 4242", pointer="/value") == NUMBER
    assert cards.search_number({"number": NUMBER}, pointer="/value") == NUMBER
    assert cards.search_number(card(exp_year=2001), pointer="/value") == NUMBER
    for raw in ({}, {"number": "1"}, {"number": NUMBER, "cvc": "1"}):
        with pytest.raises(InvalidInput):
            cards.search_number(raw, pointer="/value")
