"""The displayable remainder of a value, made once, when the value is written.

A mask is stored in clear and shown to whoever may see masked records, so it must not lead back to
the value. Each function is a pure function of the value, so one value has one mask (PCI DSS 3.4.1:
one truncation per number). Stars other than a card's stand for any number of characters.
"""

from __future__ import annotations

import unicodedata

STARS = "***"

_BIN = 6
_LAST = 4
# PCI DSS 3.4.1 lets a 16-digit number show all but 4 digits and a 15-digit one all but 5. Hiding at
# least 5 of every number keeps one rule for all lengths, and at most 6 + 4 are ever shown.
_HIDDEN = 5
# More words than this say more about a name than they help to recognise it.
_WORDS = 4


def card_number(number: str) -> str:
    """BIN and last four of 13 to 19 digits: `424242******4242`.

    16 digits hide 6, 15 digits hide 5; shorter numbers show a shorter BIN (13 digits show 4).
    """
    shown = min(_BIN, len(number) - _LAST - _HIDDEN)
    return number[:shown] + "*" * (len(number) - shown - _LAST) + number[-_LAST:]


def telephone(country_code: int, national_number: str) -> str:
    """Calling code and last two digits: `+49******78`; fewer where the number is very short."""
    shown = max(0, min(2, len(national_number) - 4))
    return f"+{country_code}******{national_number[len(national_number) - shown :]}"


def name(text: str) -> str:
    """The first letter or digit of each of the first four words: `A*** C***`.

    A word of a single letter or digit shows none: an ideograph may be a whole family name.
    """
    return " ".join([_word(word) for word in text.split()[:_WORDS]])


def _word(word: str) -> str:
    letters = [char for char in word if unicodedata.category(char)[0] in "LN"]
    return (letters[0] if len(letters) > 1 else "") + STARS


def email(local: str, domain: str) -> str:
    """First character of the local part and the domain: `a***@example.com`."""
    return f"{local[0] if len(local) > 1 else ''}{STARS}@{domain}"


def postal_code(code: str) -> str:
    """The first two characters, fewer of a code of three or less: `10***`."""
    return code[: max(0, min(2, len(code) - 2))] + STARS
