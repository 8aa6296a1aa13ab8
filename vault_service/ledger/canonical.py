"""Canonical JSON: one byte string for each value, so that what is hashed has one spelling only.

A subset of RFC 8785 (JSON Canonicalization Scheme): objects, arrays, strings, integers, true,
false and null. Members are sorted by the UTF-16 code units of their names, nothing stands between
the parts, strings are UTF-8 with the shortest escapes and are kept as they are (no
normalisation). Left out are fractions and exponents: every JSON library writes them differently.

This module knows no entry and no key. It uses the standard library only, so that an auditor can
read all of it. The form is frozen: the ledger's hashes are made over it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

# JSON numbers are doubles to many readers: beyond 2^53 they would read another number (RFC 8785).
MAX_INTEGER: Final = 2**53 - 1
# Deeper than anything the ledger writes, far from the interpreter's recursion limit.
MAX_DEPTH: Final = 32
# Entry bundles of tlog-tiles bound one entry to 65,535 bytes.
MAX_BYTES: Final = 65_535
_STRINGS: Final = frozenset((str,))
# What it is given holds no circle: `_ordered` has just made it.
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
)


class CanonicalError(ValueError):
    """The value has no canonical form, or the bytes are not one."""

    code = "not_canonical"


def serialise(value: object) -> bytes:
    """The canonical bytes of a value made of dicts, lists, tuples, strings, integers and bools.

    Raises:
        CanonicalError: a part has no canonical form (fraction, huge integer, a name that is not a
            string, half a surrogate pair, too deep), or the whole is longer than `MAX_BYTES`.
    """
    try:
        encoded = _ENCODER.encode(_ordered(value, MAX_DEPTH)).encode()
    except UnicodeEncodeError as error:
        raise CanonicalError("a string holds half a surrogate pair") from error
    if len(encoded) > MAX_BYTES:
        raise CanonicalError("the value is too long")
    return encoded


def parse(data: bytes) -> Any:
    """The value whose canonical bytes these are; `serialise(parse(data)) == data` always holds.

    Raises:
        CanonicalError: the bytes are not JSON, or not the canonical form of what they say.
    """
    if len(data) > MAX_BYTES:
        raise CanonicalError("the bytes are too long")
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_without_duplicates,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except CanonicalError:
        raise
    except (ValueError, RecursionError) as error:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors; both quote the input.
        raise CanonicalError("the bytes are not JSON") from error
    if serialise(value) != data:
        raise CanonicalError("the bytes are JSON, but not in canonical form")
    return value


def _ordered(value: object, depth: int) -> object:
    """The value with every object's members in canonical order."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a StrEnum's text
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise CanonicalError("an integer is too large for every reader to agree on it")
        return int(value)
    if depth == 0:
        raise CanonicalError("the value is nested too deeply")
    if isinstance(value, Mapping):
        return _ordered_members(value, depth)
    if isinstance(value, list | tuple):
        return [item if type(item) is str else _ordered(item, depth - 1) for item in value]
    raise CanonicalError("a part of the value is of a type that has no canonical form")


def _ordered_members(value: Mapping[Any, object], depth: int) -> dict[str, object]:
    if not _STRINGS.issuperset(map(type, value)):
        raise CanonicalError("a member's name is not a string")
    try:
        # Code units in UTF-16 sort as the code points do, as long as all are ASCII.
        plain = "".join(value).isascii()
        names = sorted(value, key=None if plain else lambda name: name.encode("utf-16-be"))
    except UnicodeEncodeError as error:
        raise CanonicalError("a member's name holds half a surrogate pair") from error
    return {
        name: member if type(member) is str else _ordered(member, depth - 1)
        for name in names
        for member in (value[name],)
    }


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise CanonicalError("an object has two members of one name")
    return members


def _refuse_number(_text: str) -> NoReturn:
    raise CanonicalError("a number is not an integer")
