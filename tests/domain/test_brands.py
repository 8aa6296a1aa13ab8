"""The prefix table, against published numbers and against another library's table."""

from __future__ import annotations

import random

import pytest
from pydantic_core import PydanticCustomError
from pydantic_extra_types.payment import PaymentCardBrand, PaymentCardNumber

from vault_service.cli.sample_cards import NUMBERS
from vault_service.domain import brands
from vault_service.domain.brands import Brand, brand_of, luhn_valid


def with_check_digit(body: str) -> str:
    """The number that consists of `body` and its Luhn check digit."""
    return next(body + d for d in "0123456789" if luhn_valid(body + d))


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4242424242424242", Brand.VISA),
        ("4222222222222", Brand.VISA),
        ("5555555555554444", Brand.MASTERCARD),
        ("2221000000000009", Brand.MASTERCARD),
        ("2720990000000015", Brand.MASTERCARD),
        ("2720999999999996", Brand.MASTERCARD),
        ("2721000000000004", Brand.UNKNOWN),
        ("2220990000000006", Brand.UNKNOWN),
        ("378282246310005", Brand.AMEX),
        ("6011111111111117", Brand.DISCOVER),
        ("6445644564456445", Brand.DISCOVER),
        ("30569309025904", Brand.DINERS),
        ("36227206271667", Brand.DINERS),
        ("3566002020360505", Brand.JCB),
        ("3088000000000017", Brand.JCB),
        ("6205500000000000004", Brand.UNIONPAY),
        ("8171999927660000", Brand.UNIONPAY),
        ("6759649826438453", Brand.MAESTRO),
        ("5066991111111118", Brand.ELO),
        ("4514160000000003", Brand.ELO),
        ("6062828888666688", Brand.HIPERCARD),
        ("2202474301322987", Brand.MIR),
        ("9792030000000000", Brand.TROY),
        ("5019555544445555", Brand.DANKORT),
        ("135410014004955", Brand.UATP),
        ("5060990580000217499", Brand.VERVE),
        ("6074819900004939", Brand.RUPAY),
        ("6007220000000004", Brand.FORBRUGSFORENINGEN),
        ("7000000000000005", Brand.UNKNOWN),
    ],
)
def test_published_numbers_have_their_brand(number: str, brand: Brand) -> None:
    """The longest listed prefix decides, and the ends of ranges are inside them."""
    assert brand_of(number) is brand


def test_every_published_test_number_is_good() -> None:
    """Each passes the Luhn check and has a length of its brand; all lengths from 13 to 19 occur."""
    for number in NUMBERS:
        assert luhn_valid(number)
        assert len(number) in brands.LENGTHS[brand_of(number)]
    assert {len(number) for number in NUMBERS} == set(range(13, 20))
    assert len(NUMBERS) == len(set(NUMBERS)) == 94


def test_every_brand_has_lengths_within_the_bounds() -> None:
    """No brand allows a length that no card may have."""
    assert set(brands.LENGTHS) == set(Brand)
    for lengths in brands.LENGTHS.values():
        assert lengths
        assert lengths <= set(range(brands.MIN_LENGTH, brands.MAX_LENGTH + 1))


def test_ranges_cover_what_they_say() -> None:
    """Every six-digit prefix of 222100 to 272099 is Mastercard, and none beside it."""
    assert all(brand_of(str(p)) is Brand.MASTERCARD for p in range(222100, 272100))
    assert brand_of("222099") is not Brand.MASTERCARD
    assert brand_of("272100") is not Brand.MASTERCARD


@pytest.mark.parametrize(
    ("number", "good"),
    [("79927398713", True), ("79927398710", False), ("0", True), ("18", True), ("81", False)],
)
def test_luhn_check_digit(number: str, good: bool) -> None:  # noqa: FBT001 -- a table of cases
    """The check agrees with worked examples of both parities."""
    assert luhn_valid(number) is good


def test_luhn_finds_every_wrong_digit() -> None:
    """One changed digit anywhere is always found out, which is what the check is for."""
    number = "4242424242424242"
    for place, digit in enumerate(number):
        for other in set("0123456789") - {digit}:
            assert not luhn_valid(number[:place] + other + number[place + 1 :])


_SAME = {
    PaymentCardBrand.amex: Brand.AMEX,
    PaymentCardBrand.mastercard: Brand.MASTERCARD,
    PaymentCardBrand.visa: Brand.VISA,
    PaymentCardBrand.mir: Brand.MIR,
    PaymentCardBrand.maestro: Brand.MAESTRO,
    PaymentCardBrand.discover: Brand.DISCOVER,
    PaymentCardBrand.verve: Brand.VERVE,
    PaymentCardBrand.dankort: Brand.DANKORT,
    PaymentCardBrand.troy: Brand.TROY,
    PaymentCardBrand.unionpay: Brand.UNIONPAY,
    PaymentCardBrand.jcb: Brand.JCB,
    PaymentCardBrand.diners_club: Brand.DINERS,
}
# National schemes inside a larger network's range, which the other table does not know.
_FINER = {Brand.ELO, Brand.RUPAY, Brand.VERVE, Brand.JCB, Brand.UNKNOWN}


def _theirs(number: str) -> tuple[Brand | None, bool]:
    """The other library's brand (None for "other") and whether it takes the number."""
    brand, _ = PaymentCardNumber._identify_brand(number)
    try:
        PaymentCardNumber(number)
    except PydanticCustomError:
        return _SAME.get(brand), False
    return _SAME.get(brand), True


def test_agrees_with_pydantic_extra_types() -> None:
    """Wherever the other table knows a brand, ours says the same or a scheme inside its range."""
    chance = random.Random(7)  # noqa: S311 -- a repeatable test
    differing: set[tuple[Brand, Brand]] = set()
    known = 0
    for _ in range(30_000):
        length = chance.randint(13, 19)
        first = chance.choice(("", "2", "3", "4", "5", "6", "81", "97"))
        body = first + "".join(chance.choices("0123456789", k=length - 1 - len(first)))
        number = with_check_digit(body)
        theirs, accepted = _theirs(number)
        if theirs is None:
            continue
        known += 1
        ours = brand_of(number)
        if ours is not theirs:
            differing.add((theirs, ours))
        elif accepted:
            assert len(number) in brands.LENGTHS[ours], f"{ours} of {length} digits"
    assert known > 10_000
    assert {ours for _, ours in differing} <= _FINER, differing
    # "30" as a whole is Diners to them; the networks publish only 300-305, 3095 and JCB's ranges.
    assert {theirs for theirs, ours in differing if ours is Brand.UNKNOWN} <= {
        Brand.DINERS,
        Brand.UNIONPAY,
    }


def test_published_numbers_agree_with_pydantic_extra_types() -> None:
    """The other library takes every published number whose brand both tables know."""
    for number in NUMBERS:
        theirs, accepted = _theirs(number)
        if theirs is brand_of(number):
            assert accepted, number
