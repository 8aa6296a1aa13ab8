"""Which network a card number belongs to, and which lengths that network issues.

A short table of our own: prefix ranges as the networks publish them. It may not be used to decide
whether a card is good, only to name its brand and to catch numbers that were mistyped or cut off.

Sources, read in November 2026:
    Mastercard "Transaction Processing Rules", account ranges 51-55 and 222100-272099;
    Visa "Core Rules", leading 4 with 13, 16 and 19 digits;
    Discover Network "IIN bulletin" (Discover, Diners Club, JCB and UnionPay ranges and lengths);
    American Express "Merchant Regulations", 34 and 37; NPCI's RuPay ranges; NSPK's Mir 2200-2204;
    the tables of braintree/credit-card-type and pydantic-extra-types, which collect these, and
    the article "Payment card number" of Wikipedia for the national schemes.

Where two ranges overlap the longer prefix wins, so a national scheme inside a larger network's
range (Elo inside 4, RuPay inside 65) gets its own name. A number of no listed range is of brand
`unknown`: new ranges open every year, and refusing a paying customer's card because a table is old
would help nobody. A number of a known brand with a length that brand never issues is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType

# ISO/IEC 7812-1 allows 8 to 19 digits; payment networks issue 12 to 19, and the 12-digit Maestro
# numbers are gone. Below 13 digits a mask of last four and BIN would hide too little.
MIN_LENGTH = 13
MAX_LENGTH = 19


class Brand(StrEnum):
    """The network of a card."""

    AMEX = "amex"
    BORICA = "borica"
    DANKORT = "dankort"
    DINERS = "diners"
    DISCOVER = "discover"
    ELO = "elo"
    FORBRUGSFORENINGEN = "forbrugsforeningen"
    GPN = "gpn"
    HIPER = "hiper"
    HIPERCARD = "hipercard"
    HUMO = "humo"
    JCB = "jcb"
    MAESTRO = "maestro"
    MASTERCARD = "mastercard"
    MIR = "mir"
    NAPAS = "napas"
    RUPAY = "rupay"
    TROY = "troy"
    UATP = "uatp"
    UKRCARD = "ukrcard"
    UNIONPAY = "unionpay"
    UZCARD = "uzcard"
    VERVE = "verve"
    VISA = "visa"
    UNKNOWN = "unknown"


_FROM_16 = frozenset((16, 17, 18, 19))
_ONLY_16 = frozenset((16,))
_VERVE = frozenset((16, 18, 19))

LENGTHS: Mapping[Brand, frozenset[int]] = MappingProxyType(
    {
        Brand.AMEX: frozenset((15,)),
        Brand.BORICA: _ONLY_16,
        Brand.DANKORT: _ONLY_16,
        Brand.DINERS: frozenset(range(14, 20)),
        Brand.DISCOVER: _FROM_16,
        Brand.ELO: _ONLY_16,
        Brand.FORBRUGSFORENINGEN: _ONLY_16,
        Brand.GPN: _VERVE,
        Brand.HIPER: _ONLY_16,
        Brand.HIPERCARD: _ONLY_16,
        Brand.HUMO: _ONLY_16,
        # 1800 and 2131 once had 15 digits; the other ranges have 16 to 19.
        Brand.JCB: frozenset(range(15, 20)),
        Brand.MAESTRO: frozenset(range(MIN_LENGTH, MAX_LENGTH + 1)),
        Brand.MASTERCARD: _ONLY_16,
        Brand.MIR: _FROM_16,
        Brand.NAPAS: frozenset((16, 19)),
        Brand.RUPAY: _ONLY_16,
        Brand.TROY: _ONLY_16,
        Brand.UATP: frozenset((15,)),
        Brand.UKRCARD: _FROM_16,
        Brand.UNIONPAY: _FROM_16,
        Brand.UZCARD: _ONLY_16,
        Brand.VERVE: _VERVE,
        Brand.VISA: frozenset((13, 16, 19)),
        Brand.UNKNOWN: frozenset(range(MIN_LENGTH, MAX_LENGTH + 1)),
    }
)

# Each word is a prefix or `low-high`, both ends included and of the same length.
_RANGES: Mapping[Brand, str] = MappingProxyType(
    {
        Brand.AMEX: "34 37",
        Brand.BORICA: "2205",
        # 4571 is Visa/Dankort; a terminal abroad sees a Visa card, so it is named Visa.
        Brand.DANKORT: "5019",
        Brand.DINERS: "300-305 3095 36 38-39",
        Brand.DISCOVER: "6011 644-649 65",
        Brand.ELO: (
            "401178-401179 431274 438935 451416 457393 457631-457632 504175 506699-506778"
            " 509000-509999 627780 636297 636368 650031-650033 650035-650051 650405-650439"
            " 650485-650538 650541-650598 650700-650718 650720-650727 650901-650978"
            " 651652-651679 655000-655019 655021-655058"
        ),
        Brand.FORBRUGSFORENINGEN: "600722",
        Brand.GPN: "1946",
        Brand.HIPER: "637095 637568 637599 637609 637612 63737423 63743358",
        Brand.HIPERCARD: "606282",
        Brand.HUMO: "9860",
        Brand.JCB: ("1800 2131 3088-3094 3096-3102 3112-3120 3158-3159 3337-3349 3528-3589"),
        Brand.MAESTRO: "50 56-58 5893 6304 63 67",
        Brand.MASTERCARD: "51-55 2221-2720",
        Brand.MIR: "2200-2204",
        Brand.NAPAS: "9704",
        Brand.RUPAY: "508500-508999 606985-607984 608001-608500 652150-653149 8172-8199 8200-8201",
        Brand.TROY: "9792",
        Brand.UATP: "1",
        Brand.UKRCARD: "60400100-60420099",
        # 622126-622925 are co-branded with Discover; they are issued as UnionPay cards.
        Brand.UNIONPAY: "62 810 8110-8171",
        Brand.UZCARD: "8600",
        Brand.VERVE: "506099-506198 507865-507964 650002-650027",
        Brand.VISA: "4",
    }
)


def _spread(low: str, high: str) -> Iterator[str]:
    """The shortest prefixes that cover `low` to `high`: 2221-2720 needs 14, not 500."""
    start, end, width = int(low), int(high), len(low)
    while start <= end:
        step = 1
        while start % (step * 10) == 0 and start + step * 10 - 1 <= end:
            step *= 10
        yield f"{start:0{width}d}"[: width + 1 - len(str(step))]
        start += step


def _table() -> Mapping[str, Brand]:
    prefixes: dict[str, Brand] = {}
    for brand, ranges in _RANGES.items():
        for word in ranges.split():
            low, _, high = word.partition("-")
            for prefix in _spread(low, high or low):
                prefixes[prefix] = brand
    return MappingProxyType(prefixes)


# A few hundred dictionary entries, built once; a lookup is at most one probe for each length that
# a prefix with the same first digit has.
PREFIXES: Mapping[str, Brand] = _table()
_LENGTHS_BY_DIGIT: Mapping[str, tuple[int, ...]] = {
    digit: tuple(sorted({len(each) for each in PREFIXES if each[0] == digit}, reverse=True))
    for digit in "0123456789"
}


def brand_of(number: str) -> Brand:
    """The network of a number, by its longest listed prefix; `unknown` where none is listed."""
    for length in _LENGTHS_BY_DIGIT.get(number[:1], ()):
        brand = PREFIXES.get(number[:length])
        if brand is not None:
            return brand
    return Brand.UNKNOWN


# Maps an ASCII digit to the ASCII code of zero plus the digit's doubled digit sum.
_DOUBLED = bytes.maketrans(
    b"0123456789", bytes(48 + value for value in (0, 2, 4, 6, 8, 1, 3, 5, 7, 9))
)


def luhn_valid(number: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    `number` must hold ASCII digits only.
    """
    digits = number.encode("ascii")
    total = sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED)) - 48 * len(digits)
    return total % 10 == 0
