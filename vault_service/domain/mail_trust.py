"""How far a message's sender is believed: what the company's own mail server found out about it.

`From` proves nothing, and neither does any of these: a change waits for support in any case. They
are shown, so that whoever calls the customer back knows what to think of the message.

The one source is the topmost `Authentication-Results` field (RFC 8601), and only if it bears the
name of the company's server: that server puts its own on top and takes away those that claim its
name. Fields further down may have come with the message.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from vault_service.domain import emails
from vault_service.domain.mail import Header
from vault_service.errors import InvalidInput

_LONGEST: Final = 8 * 1024
# Senders choose what stands in quotes and in comments, a semicolon and a result included.
_FREE: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|\((?:[^()\\]|\\.)*\)")
_RESULT: Final = re.compile(
    r"\s*(dmarc|dkim|spf)(?:\s*/\s*\d+)?\s*=\s*([a-z]+)\b(.*)", re.IGNORECASE | re.DOTALL
)
_DOMAIN: Final = re.compile(
    r"\b(?:header\.(?:from|d|i)|smtp\.mailfrom)\s*=\s*\"?(?:[^\s\"@;]*@)?([^\s\";]+)", re.IGNORECASE
)


class Trust(StrEnum):
    """What was found out about the sender.

    `aligned`: who may send for the domain of `From` sent this. `unaligned`: somebody stands for
    the message, but of another domain. `failed`: the checks say that it is not from there.
    `unknown`: nobody has told.
    """

    ALIGNED = "aligned"
    UNALIGNED = "unaligned"
    FAILED = "failed"
    UNKNOWN = "unknown"


def judge(header: Header, server: str | None) -> Trust:
    """The trust in the sender of a message, as the company's mail server tells it.

    Args:
        header: the message's.
        server: the name under which that server signs its results; None where none does.
    """
    domain = domain_of(header.sender)
    told = header.all("authentication-results")[:1]
    if server is None or domain is None or not told or len(told[0]) > _LONGEST:
        return Trust.UNKNOWN
    who, *results = _FREE.sub(" ", told[0]).split(";")
    name = who.split()
    if not name or name[0].lower() != server.lower():
        return Trust.UNKNOWN
    found: dict[str, set[Trust]] = {"dmarc": set(), "dkim": set(), "spf": set()}
    for each in results:
        match = _RESULT.match(each)
        if match is not None:
            found[match[1].lower()].add(_of(match[2].lower(), match[3], domain))
    # DMARC has weighed the other two already.
    for level in (Trust.ALIGNED, Trust.FAILED, Trust.UNALIGNED):
        if level in found["dmarc"]:
            return level
    both = found["dkim"] | found["spf"]
    for level in (Trust.ALIGNED, Trust.UNALIGNED, Trust.FAILED):
        if level in both:
            return level
    return Trust.UNKNOWN


def _of(result: str, more: str, domain: str) -> Trust:
    if result in ("fail", "softfail", "policy"):
        return Trust.FAILED
    if result != "pass":
        return Trust.UNKNOWN
    match = _DOMAIN.search(more)
    return Trust.ALIGNED if match is not None and aligned(match[1], domain) else Trust.UNALIGNED


def aligned(signer: str, domain: str) -> bool:
    """Whether who stands for `signer` stands for `domain`: the same, or a domain above it."""
    name = signer.lower().rstrip(".")
    return domain == name or ("." in name and domain.endswith(f".{name}"))


def domain_of(address: str | None) -> str | None:
    """The domain of an address, as the domain name system has it."""
    try:
        return emails.parse(address, pointer="").ascii_domain
    except InvalidInput:
        return None
