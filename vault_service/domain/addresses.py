"""Postal addresses: lines, city, region, postal code and country.

Only the country is checked against a list, because it decides what the rest means. No module of
ours may know better than the customer how an address in another country is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vault_service.domain import freetext, names
from vault_service.errors import InvalidInput

# ISO 3166-1 alpha-2 as of November 2026: the 249 officially assigned codes, and XK, which the
# standard leaves to its users and which banks, posts and telephone registries use for Kosovo.
_ISO_3166 = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ "
    "BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM "
    "DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS "
    "GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN "
    "KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ "
    "MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM "
    "PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV "
    "SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI "
    "VN VU WF WS XK YE YT ZA ZM ZW"
)
COUNTRIES: frozenset[str] = frozenset(_ISO_3166.split())

# Field -> longest text; the order is the order of an address. Required fields are listed apart.
FIELDS: Mapping[str, int] = {
    "line1": 200,
    "line2": 200,
    "city": 100,
    "region": 100,
    "postal_code": 16,
    "country": 2,
}
# Some countries have no postal codes, most addresses no region.
_REQUIRED = ("line1", "city", "country")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostalAddress:
    """A parsed address; a field that was not given is absent. Nothing of it shows in its repr."""

    fields: Mapping[str, str] = field(repr=False)

    @property
    def country(self) -> str:
        """ISO 3166-1 alpha-2, upper case."""
        return self.fields["country"]

    @property
    def postal_code(self) -> str | None:
        """The postal code as written, if one was given."""
        return self.fields.get("postal_code")

    def comparable(self) -> list[str]:
        """The fields in order and folded, "" for an absent one; the postal code without spaces."""
        parts = [names.folded(self.fields.get(name, "")) for name in FIELDS]
        parts[4] = parts[4].replace(" ", "").replace("-", "")
        return parts


def parse(raw: object, *, pointer: str) -> PostalAddress:
    """An address from `{"line1", "line2"?, "city", "region"?, "postal_code"?, "country"}`.

    Raises:
        InvalidInput: `country_unknown`, `object_expected`, `field_missing`, `unknown_field`,
            `sensitive_authentication_data`, and as `names.parse` for each field.
    """
    if not isinstance(raw, Mapping):
        raise InvalidInput(
            "an address is an object with line1, city and country",
            code="object_expected",
            pointer=pointer,
        )
    freetext.check_forbidden_fields(raw, pointer)
    if raw.keys() - FIELDS.keys():
        raise InvalidInput(
            f"an address has {', '.join(FIELDS)} only", code="unknown_field", pointer=pointer
        )
    for name in _REQUIRED:
        if name not in raw:
            raise InvalidInput(
                f"{name} is missing", code="field_missing", pointer=f"{pointer}/{name}"
            )
    fields = {
        name: names.parse(raw[name], pointer=f"{pointer}/{name}", max_length=limit)
        for name, limit in FIELDS.items()
        if raw.get(name) is not None or name in _REQUIRED
    }
    # ASCII first: the capital form of one ligature or sharp s would be another country's code.
    code = fields["country"].upper() if fields["country"].isascii() else ""
    if code not in COUNTRIES:
        raise InvalidInput(
            "this is not a country code of ISO 3166-1 alpha-2",
            code="country_unknown",
            pointer=f"{pointer}/country",
        )
    return PostalAddress(fields={**fields, "country": code})
