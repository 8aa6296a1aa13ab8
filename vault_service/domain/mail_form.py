"""The simple form in which a customer may write what is to be changed.

    Change: telephone                    Change: card
    New: +49 30 901820                   New: 4242 4242 4242 4242
                                         Expires: 12/2035
                                         Name: A. Customer

`Old:` or `Token:` may say which value is meant where there are several. Case does not matter, nor
what stands around the form. What is quoted, or stands below a signature's mark, is not read. What
is not plainly one of the classes below is left to a person, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from vault_service.domain.classes import DataClass

# More characters than any such form; what comes after is not read.
LONGEST: Final = 16 * 1024
MAX_CHANGES: Final = 20

CLASSES: Final[Mapping[str, DataClass]] = MappingProxyType(
    {
        "telephone": DataClass.TELEPHONE,
        "telephone number": DataClass.TELEPHONE,
        "phone": DataClass.TELEPHONE,
        "phone number": DataClass.TELEPHONE,
        "e-mail": DataClass.EMAIL_ADDRESS,
        "email": DataClass.EMAIL_ADDRESS,
        "e-mail address": DataClass.EMAIL_ADDRESS,
        "email address": DataClass.EMAIL_ADDRESS,
        "business name": DataClass.BUSINESS_NAME,
        "company name": DataClass.BUSINESS_NAME,
        "contact name": DataClass.CONTACT_NAME,
        "name": DataClass.CONTACT_NAME,
        "card": DataClass.PAYMENT_CARD,
        "credit card": DataClass.PAYMENT_CARD,
        "payment card": DataClass.PAYMENT_CARD,
    }
)
"""What may stand behind `Change:`."""

_LINE: Final = re.compile(
    r"[ \t]*(change|new|old|token|expires|name)[ \t]*:[ \t]*(.{0,500})", re.IGNORECASE
)
_EXPIRY: Final = re.compile(r"(0?[1-9]|1[0-2])\s*[/-]\s*(\d{4}|\d{2})", re.ASCII)
_SIGNATURE: Final = ("-- ", "--")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenChange:
    """One change that a message asks for; `old` is a value as the customer wrote it."""

    data_class: DataClass
    value: object = field(repr=False)
    token: str | None
    old: str | None = field(repr=False)


def read(text: str) -> list[WrittenChange | None]:
    """The changes that a text asks for, in order; None for one that a person must read."""
    blocks: list[dict[str, str] | None] = []
    for line in text.splitlines():
        if line in _SIGNATURE:
            break
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name, value = match[1].lower(), match[2].strip()
        if name == "change":
            blocks.append({"change": value})
        elif blocks:
            block = blocks[-1]
            # Said twice, and it is not known which is meant.
            if block is None or name in block:
                blocks[-1] = None
            else:
                block[name] = value
    changes = [None if block is None else _change(block) for block in blocks[:MAX_CHANGES]]
    return [*changes, None] if len(blocks) > MAX_CHANGES else changes


def _change(block: dict[str, str]) -> WrittenChange | None:
    data_class = CLASSES.get(" ".join(block["change"].lower().split()))
    new = block.get("new")
    if data_class is None or not new:
        return None
    value: object = new
    if data_class is DataClass.PAYMENT_CARD:
        expiry = _EXPIRY.fullmatch(block.get("expires", ""))
        if expiry is None:
            return None
        value = {
            "number": new,
            "exp_month": int(expiry[1]),
            "exp_year": int(expiry[2]) + (2000 if len(expiry[2]) == 2 else 0),
        } | ({"name": block["name"]} if block.get("name") else {})
    return WrittenChange(
        data_class=data_class,
        value=value,
        token=block.get("token") or None,
        old=block.get("old") or None,
    )
