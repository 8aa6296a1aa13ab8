"""Text that is not a value: references, comments, metadata, external references.

Such text stands in clear in rows, answers and logs, so nothing that belongs in the vault may stand
in it: no card number, and no sensitive authentication data under whatever name. `find_card_numbers`
also serves the log filter. This module may not repeat what it found, not even in an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import product

from vault_service.domain import brands, tokens
from vault_service.errors import InvalidInput

# --- control characters and length

# Refused: controls, line and paragraph separators, directional overrides (they make text read
# otherwise than it is), byte order marks, invisible tags, surrogates, private use, noncharacters.
# Joiners (U+200C, U+200D) and marks of direction stay: Persian, Hindi and Hebrew names need them.
_REFUSED = (
    "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufdd0-\ufdef\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e007f\U000f0000-\U0010ffff"
    + "".join(
        f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0xF0000, 0x10000)
    )
)
_CONTROL = re.compile(f"[\x00-\x1f{_REFUSED}]")
_CONTROL_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_REFUSED}]")


def clean_text(
    raw: object, *, pointer: str | None, max_length: int, multiline: bool = False
) -> str:
    """The text in NFC without outer spaces, at least 1 and at most `max_length` characters long.

    `multiline` allows tabs and line feeds, and turns other line ends into line feeds.

    Raises:
        InvalidInput: `string_expected`, `text_empty`, `text_too_long`, `control_character`.
    """
    if not isinstance(raw, str):
        raise InvalidInput("a string is expected here", code="string_expected", pointer=pointer)
    # Before the costly steps: composing can at most shorten a text to a third (a base character
    # with two marks), so what is longer than this stays too long.
    if len(raw) > max_length * 4 + 64:
        raise _too_long(max_length, pointer)
    if multiline:
        raw = raw.replace("\r\n", "\n").replace("\r", "\n")
    if (_CONTROL_IN_LINES if multiline else _CONTROL).search(raw) is not None:
        raise InvalidInput(
            "control characters, directional overrides and private-use characters are refused",
            code="control_character",
            pointer=pointer,
        )
    text = unicodedata.normalize("NFC", raw).strip()
    if not text:
        raise InvalidInput("this text is empty", code="text_empty", pointer=pointer)
    if len(text) > max_length:
        raise _too_long(max_length, pointer)
    return text


def _too_long(max_length: int, pointer: str | None) -> InvalidInput:
    return InvalidInput(
        f"this text is longer than {max_length} characters", code="text_too_long", pointer=pointer
    )


def check_text(
    text: object, *, pointer: str | None, max_length: int, multiline: bool = False
) -> str:
    """What `clean_text` returns, if no card number stands in it.

    Raises:
        InvalidInput: as `clean_text`, and `card_number_not_allowed_here`.
    """
    cleaned = clean_text(text, pointer=pointer, max_length=max_length, multiline=multiline)
    refuse_card_numbers(cleaned, pointer=pointer)
    return cleaned


def refuse_card_numbers(text: str, *, pointer: str | None) -> None:
    """Return if no card number stands in the text.

    Raises:
        InvalidInput: `card_number_not_allowed_here`.
    """
    if next(find_card_numbers(text), None) is not None:
        raise InvalidInput(
            "a card number may not stand here",
            code="card_number_not_allowed_here",
            pointer=pointer,
            hint="tokenize it as a payment_card and use the token",
        )


# --- card numbers in text


class _Plain(dict[int, int]):
    """Maps every digit of Unicode to its ASCII digit and every space, dash or dot to one space.

    Filled as characters are met; what is neither is left as it is and not remembered, so that the
    table stays at a few thousand entries whatever is read.
    """

    def __missing__(self, code: int) -> int:
        char = chr(code)
        digit = unicodedata.digit(char, None)
        if digit is not None:
            self[code] = 48 + digit
        elif unicodedata.category(char) in _GAP_CATEGORIES or char in _GAP_CHARS:
            self[code] = 32
        else:
            raise LookupError
        return self[code]


_GAP_CATEGORIES = frozenset(("Zs", "Zl", "Zp", "Pd", "Cf", "Mn", "Me"))
# Dots of several scripts and the minus sign, which Unicode does not count among the dashes.
_GAP_CHARS = frozenset(
    "\t\n\r\v\f\x1c\x1d\x1e\x1f\x85._\u00b7\u2022\u2219\u22c5\u30fb\uff0e\u3002\uff61\u2212"
)
_PLAIN = _Plain()

# At least 13 digits, at most four separators between two of them. Digits and separators share no
# character, so there is one way to match and the search is linear.
_RUN = re.compile(r"[0-9](?: {0,4}[0-9]){12,}")
# A UUID (RFC 9562) with or without dashes. One in 260 random ones holds digits that would pass for
# a card number (measured over 100,000), and UUIDs are what callers use as keys and references.
_UUID = re.compile(
    r"(?<![0-9A-Za-z])[0-9a-f]{8}(-?)[0-9a-f]{4}\1[1-8][0-9a-f]{3}\1[89ab][0-9a-f]{3}\1[0-9a-f]{12}"
    r"(?![0-9A-Za-z])",
    re.IGNORECASE | re.ASCII,
)
# Thirteen digits are also the time in milliseconds, and one in ten passes the Luhn check by chance.
# At that length only a known network's numbers count.
_MILLISECONDS = 13
_ASCII_GAPS = str.maketrans("\t\n\r\v\f\x1c\x1d\x1e\x1f._-", " " * 12)


def find_card_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Spans `(start, end)` of the text in which card numbers stand, ascending, not overlapping.

    A card number is a run of 13 to 19 digits, of any script or width, perhaps parted by spaces,
    dots or dashes, that passes the Luhn check. A part of a longer run counts where it begins and
    ends at a separator or an end of the run, and otherwise only where it has the prefix and the
    length of a known network: else nearly every number of 30 digits would hold one; so does a run
    of 13 digits, which is more often a time in milliseconds. A number that
    begins with 0 is none: no network issues there (ISO/IEC 7812-1). A card-shaped token is none
    either, although a part of it may look like one: it is what should stand there instead. Nor is
    what lies within a UUID that holds a letter.

    The time is linear in the length of the text.
    """
    plain = text.translate(_ASCII_GAPS if text.isascii() else _PLAIN)
    uuids: list[tuple[int, int]] | None = None
    for run in _RUN.finditer(plain):
        for start, end in _numbers_in(run.group(), run.start()):
            if uuids is None:  # looked for only where there is something that might be in one
                uuids = [each.span() for each in _UUID.finditer(text) if _has_letter(each.group())]
            if not any(first <= start and end <= last for first, last in uuids):
                yield start, end


def _has_letter(word: str) -> bool:
    return not word.replace("-", "").isdecimal()


def _numbers_in(run: str, offset: int) -> Iterator[tuple[int, int]]:
    if tokens.is_card_token(run):
        return
    places = [index for index, char in enumerate(run) if char != " "]
    digits = "".join([run[index] for index in places])
    count = len(digits)
    # edge[i]: a group of digits ends before digit i, or one begins with it.
    edge = [i in (0, count) or places[i] != places[i - 1] + 1 for i in range(count + 1)]
    sums = _luhn_sums(digits)
    begin = end = -1
    for start in range(count - brands.MIN_LENGTH + 1):
        if digits[start] == "0":
            continue
        # The longest first: what overlaps becomes one span in any case.
        for stop in range(min(count, start + brands.MAX_LENGTH), start + brands.MIN_LENGTH - 1, -1):
            row = sums[stop % 2]
            if (row[stop] - row[start]) % 10 == 0 and (
                (edge[start] and edge[stop] and stop - start > _MILLISECONDS)
                or _issued(digits[start:stop])
            ):
                if start >= end:
                    if end > 0:
                        yield offset + places[begin], offset + places[end - 1] + 1
                    begin = start
                end = max(end, stop)
                break
    if end > 0:
        yield offset + places[begin], offset + places[end - 1] + 1


def _luhn_sums(digits: str) -> tuple[list[int], list[int]]:
    """Running Luhn sums that double the even, and those that double the odd places.

    The sum over `digits[a:b]` is `row[b] - row[a]` of the row `b % 2`, so that each of the windows
    of a run costs one subtraction and the search stays linear with a small factor.
    """
    rows: tuple[list[int], list[int]] = ([0], [0])
    for index, digit in enumerate(map(int, digits)):
        doubled = digit * 2 - 9 * (digit > 4)
        rows[index % 2].append(rows[index % 2][-1] + doubled)
        rows[1 - index % 2].append(rows[1 - index % 2][-1] + digit)
    return rows


def _issued(number: str) -> bool:
    brand = brands.brand_of(number)
    return brand is not brands.Brand.UNKNOWN and len(number) in brands.LENGTHS[brand]


# --- fields that no request may hold (PCI DSS 3.3.1)

_CODE_WORDS = (
    "cvc", "cvc1", "cvc2", "cvc3", "cvv", "cvv1", "cvv2", "cvv3", "icvv", "dcvv", "cid", "csc",
    "csc2", "cav", "cav2", "cvn", "cvn2", "cvd", "cvd2", "cve", "cvp2", "4csc", "3csc", "ccv",
    "ccv2", "ccid",
)  # fmt: skip
_CODE_PREFIXES = ("", "card", "cc", "creditcard", "encrypted")
_CODE_SUFFIXES = ("", "code", "number", "no", "value")
_NAMED = (
    "securitycode", "cardsecuritycode", "encryptedsecuritycode", "verificationcode",
    "cardverificationcode", "verificationvalue", "cardverificationvalue", "verificationnumber",
    "cardverificationnumber", "cardvalidationcode", "cardvalidationvalue", "cardcode",
    "cardidentificationnumber", "cardidentificationcode", "cardauthenticationvalue",
    "signaturepanelcode", "pin", "pinblock", "pincode", "pinnumber", "pindata", "encryptedpin",
    "encryptedpinblock", "cardpin", "pvv", "pinverificationvalue", "track", "track1", "track2",
    "track3", "tracks", "trackdata", "track1data", "track2data", "track3data", "trackone",
    "tracktwo", "trackthree", "encryptedtrack", "encryptedtrackdata", "track2equivalentdata",
    "magstripe", "magstripedata", "magneticstripe", "magneticstripedata", "magdata", "stripedata",
    "fulltrack", "fulltrackdata", "emvdata", "iccdata", "chipdata",
)  # fmt: skip

# Names in the form in which they are compared: NFKC, casefolded, letters and digits only.
FORBIDDEN_FIELDS: frozenset[str] = frozenset(_NAMED) | frozenset(
    prefix + word + suffix
    for prefix, word, suffix in product(_CODE_PREFIXES, _CODE_WORDS, _CODE_SUFFIXES)
)

_POINTER_PART = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)
# What nothing can lie in; asked first, since an abstract class is slow to ask.
_LEAVES = (str, int, float, type(None))


# Names of which every body has some.
_USUAL = frozenset(
    ("class", "customer", "exp_month", "exp_year", "items", "name", "number", "reference", "value")
)


def _is_forbidden(name: str) -> bool:
    if name in _USUAL:
        return False
    # NFKC leaves ASCII as it is, and nearly every name of every body is ASCII.
    folded = (name if name.isascii() else unicodedata.normalize("NFKC", name)).casefold()
    if not folded.isalnum():
        folded = "".join([char for char in folded if char.isalnum()])
    return folded in FORBIDDEN_FIELDS


def _pointer_part(name: str) -> str:
    # A name is the caller's text too: what does not look like a field's name is not repeated.
    if _POINTER_PART.fullmatch(name) is None or any(find_card_numbers(name)):
        return "*"
    return name


def check_forbidden_fields(obj: object, pointer: str = "") -> None:
    """Return if nowhere in this decoded JSON a field is named like sensitive authentication data.

    Any depth, any case; spaces, dashes, underscores and dots in names are ignored. It looks at
    names only, and walks without recursion, so that no nesting can exhaust the stack.

    Raises:
        InvalidInput: `sensitive_authentication_data`, with a pointer to the field.
    """
    todo: list[tuple[object, str]] = [(obj, pointer)]
    while todo:
        node, place = todo.pop()
        if isinstance(node, (dict, Mapping)):  # a dict needs no look at its ancestors
            for name, child in node.items():
                if _is_forbidden(str(name)):
                    raise InvalidInput(
                        "verification codes, track data and pins are never accepted",
                        code="sensitive_authentication_data",
                        pointer=f"{place}/{_pointer_part(str(name))}",
                        hint="remove the field; PCI DSS 3.3.1 forbids keeping it",
                    )
                if not isinstance(child, _LEAVES) and isinstance(child, (Mapping, list, tuple)):
                    todo.append((child, f"{place}/{_pointer_part(str(name))}"))
        elif isinstance(node, (list, tuple)):
            todo.extend(
                (child, f"{place}/{index}")
                for index, child in enumerate(node)
                if isinstance(child, (Mapping, list, tuple))
            )


# --- metadata and references

# The bounds that callers know from Stripe's metadata, nearly: few, short, flat.
METADATA_KEYS = 20
METADATA_KEY_LENGTH = 40
METADATA_VALUE_LENGTH = 500
REFERENCE_LENGTH = 200


def check_metadata(obj: object, pointer: str = "/metadata") -> dict[str, str]:
    """The metadata, a flat map from string to string.

    Raises:
        InvalidInput: `metadata_malformed`, `metadata_too_large`, `sensitive_authentication_data`,
            and as `check_text` for each name and text.
    """
    if not isinstance(obj, Mapping):
        raise InvalidInput(
            "metadata is an object of strings", code="metadata_malformed", pointer=pointer
        )
    if len(obj) > METADATA_KEYS:
        raise InvalidInput(
            f"metadata holds at most {METADATA_KEYS} names",
            code="metadata_too_large",
            pointer=pointer,
        )
    check_forbidden_fields(obj, pointer)
    checked: dict[str, str] = {}
    for name, value in obj.items():
        key = check_text(name, pointer=pointer, max_length=METADATA_KEY_LENGTH)
        if key in checked:
            raise InvalidInput(
                "two names of metadata are the same once normalised",
                code="metadata_malformed",
                pointer=pointer,
            )
        # An empty text is a common way to clear a field, and harmless.
        checked[key] = (
            ""
            if value == ""
            else check_text(
                value,
                pointer=f"{pointer}/{_pointer_part(key)}",
                max_length=METADATA_VALUE_LENGTH,
            )
        )
    return checked


def check_reference(raw: object, pointer: str = "/reference") -> str:
    """A caller's own reference for a record, kept in clear beside it.

    Raises:
        InvalidInput: as `check_text`.
    """
    return check_text(raw, pointer=pointer, max_length=REFERENCE_LENGTH)
