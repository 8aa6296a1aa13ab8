"""Names of businesses and people, and how text is made comparable.

A name is kept as it was written (in NFC) and compared in a folded form. This module may not judge
what a name looks like: names have any script, any length of word, digits and marks.
"""

from __future__ import annotations

import re
import unicodedata

from vault_service.domain import freetext
from vault_service.errors import InvalidInput

NAME_LENGTH = 200

# Characters that show nothing: soft hyphen, joiners, marks of direction, variation selectors.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def folded(text: str) -> str:
    """The form in which text is compared: compatible, caseless, single spaces.

    This is the compatibility caseless match of The Unicode Standard, D146, without the characters
    that show nothing. `folded(folded(x)) == folded(x)`.
    """
    plain = unicodedata.normalize("NFD", _IGNORABLE.sub("", text))
    once = unicodedata.normalize("NFKC", plain.casefold())
    twice = unicodedata.normalize("NFKC", once.casefold())
    return " ".join(twice.split())


def parse(raw: object, *, pointer: str, max_length: int = NAME_LENGTH) -> str:
    """A name as it is kept.

    Raises:
        InvalidInput: as `freetext.check_text`; a card number is no name.
    """
    text = freetext.check_text(raw, pointer=pointer, max_length=max_length)
    if not folded(text):
        raise InvalidInput("this text is empty", code="text_empty", pointer=pointer)
    return text
