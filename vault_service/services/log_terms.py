"""What entries can be found by: each term is the first 64 bits of its name's hash.

    term(kind, value) = SHA-256(kind ":" value)[:8], big-endian, signed

A bundle's terms say which entries may be in it; the entries themselves say which are. Two names of
one hash therefore cost a look and nothing else. No proof rests on terms: whoever wants to be sure
that nothing is left out reads an export.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

# Members of an entry that hold one name each, as entries spell them.
NAMES: Final = ("customer", "grant", "principal", "key")


class _Actor(msgspec.Struct, frozen=True, gc=False):
    id: str


class _Outline(msgspec.Struct, frozen=True):
    """The members that matter here; the others are not even read."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]
    event: str
    actor: _Actor
    customer: str | None = None
    grant: str | None = None
    principal: str | None = None
    key: str | None = None
    tokens: tuple[str, ...] = ()


_decoder: Final = msgspec.json.Decoder(_Outline)


def term(kind: str, value: str) -> int:
    """The term of a name."""
    digest = hashlib.sha256(f"{kind}:{value}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


# Few events and few actors make most entries; tokens and customers would only push them out.
_often: Final = functools.lru_cache(maxsize=4096)(term)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What an entry can be found by: its time, None where it tells none, and its terms."""

    at: datetime | None
    terms: tuple[int, ...]


def outline(entry: bytes) -> Outline:
    """The outline of an entry; an empty one of bytes that are none, for they are logged as well."""
    try:
        found = _decoder.decode(entry)
    except (msgspec.DecodeError, ValueError):
        return Outline(at=None, terms=())
    terms = [_often("event", found.event), _often("actor", found.actor.id)]
    terms += [term(kind, value) for kind in NAMES if (value := getattr(found, kind)) is not None]
    terms += [term("token", token) for token in found.tokens]
    return Outline(at=found.at, terms=tuple(terms))


def matches(members: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether an entry has all of these names: kinds are `NAMES`, `event`, `actor`, `token`."""
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
