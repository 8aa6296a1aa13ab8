"""What is counted of the company's website: which page, from where, on which day; never by whom.

A name that is stored is one of the settings' own or a domain cut down to what somebody registered,
so that no visitor, and nobody who writes a link, can have a text of his own put down here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

# The smallest count that is told, and the steps in which counts are told: what is taken off by the
# rounding is as large as what is hidden, so that the difference of two counts hides it too.
LEAST: Final = 10
FEW: Final = f"<{LEAST}"

# In the place of a page or a domain: every one; one that is not counted apart; none; the own site.
EVERY: Final = "*"
OTHER: Final = "other"
NONE: Final = "none"
INTERNAL: Final = "internal"
# Domains that are counted apart on one day; with the 64 pages of the settings, it bounds a day.
MOST_DOMAINS: Final = 32

_MOST_TEXT: Final = 2048
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
_TOP: Final = re.compile(r"[a-z]{2,16}|xn--[a-z0-9-]{1,28}", re.ASCII)
# Under these, below a country's domain, it is the third label that somebody registers.
_SECOND: Final = frozenset(
    ("ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "ne", "net", "or", "org")
)
# A number of this length in a domain could be somebody's.
_LONG_NUMBER: Final = re.compile(r"[0-9]{5}", re.ASCII)
# 128 random bits in base64url.
_VISITOR: Final = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Site:
    """The company's website.

    Attributes:
        origins: where its pages are, as browsers say it (`https://www.example.com`).
        pages: paths that are counted apart; one that ends in `/*` is all below it.
    """

    origins: tuple[str, ...]
    pages: tuple[str, ...]

    def page(self, text: str) -> str:
        """The page of an address or a path: one of the settings' names, or `other`."""
        if len(text) > _MOST_TEXT:
            return OTHER
        try:
            path = urlsplit(text).path
        except ValueError:
            return OTHER
        path = path.rstrip("/") or "/"
        found = [name for name in self.pages if _is_of(path, name)]
        return max(found, key=len, default=OTHER)

    def referrer(self, text: str) -> str:
        """The domain that a visitor came from, or a word for those that are not told apart."""
        if not text:
            return NONE
        if len(text) > _MOST_TEXT:
            return OTHER
        if self.holds(text):
            return INTERNAL
        try:
            parts = urlsplit(text)
            host = parts.hostname or ""
        except ValueError:
            return OTHER
        return _registered(host) if parts.scheme in {"http", "https"} else OTHER

    def holds(self, text: str) -> bool:
        """Whether an address is one of the site."""
        try:
            parts = urlsplit(text)
        except ValueError:
            return False
        return f"{parts.scheme}://{parts.netloc}".lower() in self.origins


def _is_of(path: str, name: str) -> bool:
    if name.endswith("/*"):
        return path.startswith(name[:-1]) or path == name[:-2]
    return path == name


def _registered(host: str) -> str:
    """A host without what its owner puts before his domain; `other` for what is no such name."""
    labels = host.lower().rstrip(".").split(".")
    if len(labels) < 2 or not _TOP.fullmatch(labels[-1]):
        return OTHER
    kept = 3 if len(labels[-1]) == 2 and labels[-2] in _SECOND and len(labels) > 2 else 2
    name = labels[-kept:]
    if not all(map(_LABEL.fullmatch, name)) or any(map(_LONG_NUMBER.search, name)):
        return OTHER
    return ".".join(name)


def is_visitor(text: str) -> bool:
    """Whether a cookie's value is an id as this service makes them."""
    return _VISITOR.fullmatch(text) is not None


def told(count: int) -> int | str:
    """A count as it may be shown: `<10`, or rounded down to tens."""
    return count // LEAST * LEAST if count >= LEAST else FEW
