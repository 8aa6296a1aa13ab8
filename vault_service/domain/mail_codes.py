"""What no message may hold, because the vault would keep it: verification codes, PINs, tracks.

A message is kept byte for byte, so that nothing can be taken out of it. PCI DSS 3.3.1 forbids
keeping these even sealed, and so a message in which one seems to stand is refused as a whole, and
its sender told why. Card numbers may stand in a message: they are what it is sealed for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from vault_service.domain.evidence import CODE_IN_PROSE
from vault_service.domain.freetext import find_card_numbers
from vault_service.errors import InvalidInput

# Marks between a name and its digits: white space, and what plain text uses for emphasis.
_MARKS: Final = re.compile(r"[\s*_|\x00\u00a0]+")
# How the names of mail's own parts begin (RFC 2392), and a common parameter of addresses.
_CONTENT_ID: Final = re.compile(r"\bcid:[^\s\"'<>)]*|[?&;]cid=[^\s\"'<>&)]*", re.IGNORECASE)
# The same in the languages in which customers write; the English ones are those of evidence.
_NAMED: Final = re.compile(
    r"\b(?:karten)?pr(?:ü|ue)f(?:nummer|ziffer|code|zahl|wert)|\bsicherheits(?:code|nummer)"
    r"|\bcode de s[ée]curit[ée]|\bcryptogramme(?: visuel)?|\bc[óo]digo de seguridad"
    r"|\bcodice di sicurezza|\bc[óo]digo de seguran[çc]a|\bbeveiligingscode"
    r"|\b(?:security|verification|validation) (?:code|number|value)|\b(?:cvc|cvv|cvn|csc)[123]?",
    re.IGNORECASE,
)
_DIGITS: Final = re.compile(
    r"(?: (?:on|of|for) (?:the|my) (?:card|back))?(?: ?\([^()]{0,40}\))?"
    r"(?: ?[:=#.-]| is| ist| est| es| è| é)* ?[0-9]{3,4}(?![0-9])"
)
# ISO/IEC 7813: the two tracks of a magnetic stripe.
_TRACK_1: Final = re.compile(r"\bB([0-9]{12,19})\^[^^\r\n]{2,26}\^[0-9]{4}")
_TRACK_2: Final = re.compile(r"(?<![0-9])([0-9]{12,19})[=D][0-9]{7}")


def refuse_codes(texts: Iterable[str]) -> None:
    """Return if in none of the texts a code, a PIN or a track seems to stand.

    Raises:
        InvalidInput: `sensitive_authentication_data`.
    """
    for text in texts:
        if _holds_track(text) or _holds_code(_CONTENT_ID.sub(" ", text)):
            raise InvalidInput(
                "a card's security code, PIN or track must never be sent",
                code="sensitive_authentication_data",
                hint="send it again without the code",
            )


def _holds_track(text: str) -> bool:
    return any(
        next(find_card_numbers(match[1]), None) is not None
        for track in (_TRACK_1, _TRACK_2)
        for match in track.finditer(text)
    )


def _holds_code(text: str) -> bool:
    plain = _MARKS.sub(" ", text)
    if CODE_IN_PROSE.search(plain) is not None:
        return True
    return any(_DIGITS.match(plain, match.end()) is not None for match in _NAMED.finditer(plain))
