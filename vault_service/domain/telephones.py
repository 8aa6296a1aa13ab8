"""Telephone numbers, kept in the international form of ITU-T E.164.

A number must be one that its country's published numbering plan assigns (`is_valid_number` of
phonenumbers), not only one of a possible length: most mistyped numbers have a possible length, and
a wrong number in a vault is found out when it is needed. The price is that a range opened after the
library's release is refused until the library is updated; the error says which check failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import phonenumbers

from vault_service.domain import freetext
from vault_service.errors import InvalidInput

# 15 digits of E.164, an international prefix, and generous room for punctuation.
_LENGTH = 60
_WORLD = "001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Telephone:
    """A parsed number.

    Attributes:
        e164: `+` and at most 15 digits.
        country_code: the calling code.
        national: the digits after the calling code.
        region: ISO 3166 region of the number, None for numbers of no country.
    """

    e164: str
    country_code: int
    national: str
    region: str | None


def parse(raw: object, *, pointer: str) -> Telephone:
    """A number from `"+49 30 …"`, or from `{"number": "030 …", "region": "DE"}`.

    Raises:
        InvalidInput: `telephone_invalid`, `telephone_region_missing`, `telephone_region_unknown`,
            `telephone_extension_refused`, `field_missing`, `unknown_field`, and as
            `freetext.clean_text`.
    """
    text, region, place = _parts(raw, pointer)
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as error:
        if region is None and error.error_type == error.INVALID_COUNTRY_CODE:
            raise InvalidInput(
                "a number without + needs its region",
                code="telephone_region_missing",
                pointer=place,
                hint='send {"number": "…", "region": "DE"} or begin with + and the calling code',
            ) from None
        raise InvalidInput(
            "this is not a telephone number", code="telephone_invalid", pointer=place
        ) from None
    if number.extension:
        # E.164 has no place for it, and dropping it silently would lose what was given.
        raise InvalidInput(
            "an extension cannot be kept with the number",
            code="telephone_extension_refused",
            pointer=place,
        )
    if any(map(str.isalpha, text.lower().removeprefix("tel:"))):
        # The library reads letters as the keys of a dial, or drops them: 0O becomes 0.
        raise InvalidInput(
            "a telephone number holds no letters", code="telephone_invalid", pointer=place
        )
    if not phonenumbers.is_valid_number(number):
        raise InvalidInput(
            "no numbering plan assigns this telephone number",
            code="telephone_invalid",
            pointer=place,
        )
    found = phonenumbers.region_code_for_number(number)
    return Telephone(
        e164=phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        country_code=number.country_code or 0,
        national=phonenumbers.national_significant_number(number),
        region=None if found == _WORLD else found,
    )


def _parts(raw: object, pointer: str) -> tuple[str, str | None, str]:
    """Number, region if one was given, and pointer to the number."""
    if not isinstance(raw, Mapping):
        return freetext.clean_text(raw, pointer=pointer, max_length=_LENGTH), None, pointer
    if unknown := raw.keys() - {"number", "region"}:
        freetext.check_forbidden_fields(dict.fromkeys(unknown), pointer)
        raise InvalidInput(
            "a telephone has number and region only", code="unknown_field", pointer=pointer
        )
    for name in ("number", "region"):
        if name not in raw:
            raise InvalidInput(
                f"{name} is missing", code="field_missing", pointer=f"{pointer}/{name}"
            )
    region = freetext.clean_text(raw["region"], pointer=f"{pointer}/region", max_length=2).upper()
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidInput(
            "this is not a region with telephone numbers",
            code="telephone_region_unknown",
            pointer=f"{pointer}/region",
        )
    place = f"{pointer}/number"
    return freetext.clean_text(raw["number"], pointer=place, max_length=_LENGTH), region, place
