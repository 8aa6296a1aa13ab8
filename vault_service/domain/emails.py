"""E-mail addresses: a sane syntax, and no promise that anybody reads what is sent there.

Accepted is `dot-atom@domain` (RFC 5321 and 5322) with letters of any script in the local part
(RFC 6531) and an internationalised domain (IDNA 2008 with the mapping of UTS 46). Refused are
quoted local parts, comments, address literals and domains of one label: no customer has one, and
each is a way to smuggle something past a reader. The local part keeps its case, because only its
own server may say that case does not matter (RFC 5321, 2.4); the domain is lower-cased.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import idna

from vault_service.domain import freetext
from vault_service.errors import InvalidInput

# RFC 5321, 4.5.3.1, in octets; the whole from RFC 3696, erratum 1690.
LOCAL_OCTETS = 64
ADDRESS_OCTETS = 254

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u00a1-\U0010ffff]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailAddress:
    """A parsed address.

    Attributes:
        local: as given.
        domain: lower case, in the script in which it was given.
        ascii_domain: the same in the form that the domain name system uses.
    """

    local: str
    domain: str
    ascii_domain: str


def parse(raw: object, *, pointer: str) -> EmailAddress:
    """The parts of an address.

    Raises:
        InvalidInput: `email_address_invalid`, and as `freetext.check_text`.
    """
    text = freetext.check_text(raw, pointer=pointer, max_length=ADDRESS_OCTETS)
    local, at, domain = text.rpartition("@")
    if not at or len(local.encode()) > LOCAL_OCTETS or _LOCAL.fullmatch(local) is None:
        raise _invalid(pointer)
    if any(char.isspace() for char in local):
        raise _invalid(pointer)
    try:
        ascii_domain = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
        shown = ascii_domain if domain.isascii() else idna.decode(ascii_domain)
    except (idna.IDNAError, UnicodeError):
        # Not chained: the library's message repeats the domain.
        raise _invalid(pointer) from None
    labels = ascii_domain.split(".")
    if len(labels) < 2 or not labels[-1] or labels[-1].isdigit():
        raise _invalid(pointer)
    if len(local.encode()) + 1 + len(ascii_domain) > ADDRESS_OCTETS:
        raise _invalid(pointer)
    return EmailAddress(local=local, domain=shown, ascii_domain=ascii_domain)


def _invalid(pointer: str) -> InvalidInput:
    return InvalidInput(
        "this is not an e-mail address of the form name@domain",
        code="email_address_invalid",
        pointer=pointer,
    )
