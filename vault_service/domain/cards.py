"""Payment cards: number, expiry, and the holder's name if it is given.

The number must pass the Luhn check, have 13 to 19 digits, and a length that its network issues. A
few old UnionPay numbers of domestic use fail the Luhn check; they are refused like any other,
because a typing error in them could not be told from a good number, and because every filter that
keeps card numbers out of logs and free text knows a number by its check digit.

This module never takes a verification code, track data or a PIN: not even to drop them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from vault_service.domain import brands, freetext, names
from vault_service.errors import InvalidInput

# ISO/IEC 7813 has 26 characters on the stripe; billing systems keep longer names.
NAME_LENGTH = 100
# The longest life seen on real cards is 20 years; beyond 30 it is a typing error.
YEARS_AHEAD = 30

_FIELDS = frozenset(("number", "exp_month", "exp_year", "name"))
_RAW_LENGTH = 60
# Spaces and dashes of any script; what is left must be digits.
_PUNCTUATION = re.compile(r"[\s\-\u00ad\u2010-\u2015\u2212\ufe58\ufe63\uff0d]+")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A parsed card. `number` and `name` do not show in its repr."""

    number: str = field(repr=False)
    brand: brands.Brand
    exp_month: int
    exp_year: int
    name: str | None = field(repr=False)


def parse(raw: object, *, today: date, pointer: str) -> Card:
    """A card from `{"number", "exp_month", "exp_year", "name"?}`.

    `today` decides whether the card has expired; a card is good to the last day of its month.

    Raises:
        InvalidInput: `card_number_invalid`, `card_expiry_invalid`, `card_expired`,
            `integer_expected`, `object_expected`, `field_missing`, `unknown_field`,
            `sensitive_authentication_data`, and as `names.parse` for the name.
    """
    fields = _fields(raw, pointer)
    number, brand = _number(_required(fields, "number", pointer), f"{pointer}/number")
    month = _integer(fields, "exp_month", pointer)
    year = _integer(fields, "exp_year", pointer)
    _check_expiry(month, year, today, pointer)
    name = fields.get("name")
    return Card(
        number=number,
        brand=brand,
        exp_month=month,
        exp_year=year,
        name=None
        if name is None
        else names.parse(name, pointer=f"{pointer}/name", max_length=NAME_LENGTH),
    )


def parse_number(raw: object, *, pointer: str) -> str:
    """The digits of a card number that may hold spaces, dashes and digits of any script.

    Raises:
        InvalidInput: `card_number_invalid`, and as `freetext.clean_text`.
    """
    return _number(raw, pointer)[0]


def _number(raw: object, pointer: str) -> tuple[str, brands.Brand]:
    text = freetext.clean_text(raw, pointer=pointer, max_length=_RAW_LENGTH)
    written = _PUNCTUATION.sub("", text)
    if _DIGITS.fullmatch(written) is None:
        raise _invalid("a card number holds digits, spaces and dashes only", pointer)
    number = written if written.isascii() else "".join([str(int(digit)) for digit in written])
    if not brands.MIN_LENGTH <= len(number) <= brands.MAX_LENGTH:
        raise _invalid("a card number has 13 to 19 digits", pointer)
    if number[0] == "0":
        # ISO/IEC 7812-1 leaves 0 to its own committee; a row of zeros would pass the Luhn check.
        raise _invalid("no network issues numbers that begin with 0", pointer)
    if not brands.luhn_valid(number):
        raise _invalid("the check digit of this card number is wrong", pointer)
    brand = brands.brand_of(number)
    if len(number) not in brands.LENGTHS[brand]:
        raise _invalid(f"{brand} issues no card numbers of this length", pointer)
    return number, brand


def search_number(raw: object, *, pointer: str) -> str:
    """The digits of a number that is looked for, given as text or as `{"number": …}`.

    A card that has expired is still found, so nothing but the number is read.

    Raises:
        InvalidInput: as `parse`, without those of the expiry.
    """
    if not isinstance(raw, Mapping):
        return parse_number(raw, pointer=pointer)
    fields = _fields(raw, pointer)
    return parse_number(_required(fields, "number", pointer), pointer=f"{pointer}/number")


def _invalid(detail: str, pointer: str) -> InvalidInput:
    return InvalidInput(detail, code="card_number_invalid", pointer=pointer)


def _fields(raw: object, pointer: str) -> Mapping[str, object]:
    if not isinstance(raw, (dict, Mapping)):  # what is a dict needs no look at its ancestors
        raise InvalidInput(
            "a card is an object with number, exp_month, exp_year and perhaps name",
            code="object_expected",
            pointer=pointer,
        )
    freetext.check_forbidden_fields(raw, pointer)
    if raw.keys() - _FIELDS:
        raise InvalidInput(
            "a card has number, exp_month, exp_year and name only",
            code="unknown_field",
            pointer=pointer,
        )
    return raw


def _required(fields: Mapping[str, object], name: str, pointer: str) -> object:
    if name not in fields:
        raise InvalidInput(f"{name} is missing", code="field_missing", pointer=f"{pointer}/{name}")
    return fields[name]


def _integer(fields: Mapping[str, object], name: str, pointer: str) -> int:
    value = _required(fields, name, pointer)
    # bool is a kind of int in Python, and none in JSON.
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(
            f"{name} is a whole number", code="integer_expected", pointer=f"{pointer}/{name}"
        )
    return value


def _check_expiry(month: int, year: int, today: date, pointer: str) -> None:
    def refuse(code: str, detail: str, name: str) -> InvalidInput:
        return InvalidInput(detail, code=code, pointer=f"{pointer}/{name}")

    if not 1 <= month <= 12:
        raise refuse("card_expiry_invalid", "a month is a number from 1 to 12", "exp_month")
    if 0 <= year <= 99:
        # Guessing the century is how a card of '30 becomes one of 1930.
        raise refuse("card_expiry_invalid", "the year needs four digits", "exp_year")
    if year > today.year + YEARS_AHEAD:
        raise refuse("card_expiry_invalid", "this year is too far ahead", "exp_year")
    if (year, month) < (today.year, today.month):
        raise refuse("card_expired", "this card has expired", "exp_year")
