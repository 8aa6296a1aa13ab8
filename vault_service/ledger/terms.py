"""What entries can be found by: each term is the first 64 bits of its name's hash.

    term(kind, value) = SHA-256(kind ":" value)[:8], big-endian, signed

A bundle's terms say which entries may be in it; the entries themselves say which are. Two names of
one hash therefore cost a look and nothing else. Standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

# Members of an entry that hold one name each, as entries spell them.
NAMES: Final = ("event", "customer", "grant", "principal", "key", "request")


@functools.lru_cache(maxsize=4096)
def term(kind: str, value: str) -> int:
    """The term of a name."""
    digest = hashlib.sha256(f"{kind}:{value}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What an entry can be found by: its time, None where it tells none, and its terms."""

    at: datetime | None
    terms: frozenset[int]


def outline(entry: bytes) -> Outline:
    """The outline of an entry; an empty one of bytes that are none, for they are logged as well."""
    try:
        members: Any = json.loads(entry)
        at = datetime.fromisoformat(members["at"])
        return Outline(at=at if at.tzinfo else None, terms=_terms(members))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Outline(at=None, terms=frozenset())


def _terms(members: Mapping[str, Any]) -> frozenset[int]:
    found = {term(name, str(members[name])) for name in NAMES if name in members}
    found.add(term("actor", str(members["actor"]["id"])))
    # Not by way of the cache: a token is seen once or twice, and would push out what is seen often.
    found.update(term.__wrapped__("token", str(token)) for token in members.get("tokens", ()))
    return frozenset(found)


def matches(members: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether an entry has all of these names: kinds are `NAMES`, `actor` and `token`."""
    for kind, value in wanted.items():
        if kind == "actor":
            if members["actor"]["id"] != value:
                return False
        elif kind == "token":
            if value not in members.get("tokens", ()):
                return False
        elif members.get(kind) != value:
            return False
    return True
