"""The form of each member of an entry, version 1, and the check of a whole entry against it.

Every text has a form that leaves no room for prose, so that neither a name nor an address nor a
number of a card can get into the ledger, which nobody can take back. The same check stands before
writing and after reading. Standard library only.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from vault_service.ledger.events import LISTS, SHAPES, Event, Outcome

VERSION: Final = 1
MAX_COUNT: Final = 2**53 - 1
MAX_DETAIL: Final = 200
# A batch has at most 1,000 values, so at most as many parts.
MAX_PARTS: Final = 1000
# The caller's place when it is not a network address: this machine, or not known.
PLACES: Final = frozenset(("local", "unknown"))

_ID = "[0-9a-hjkmnp-tv-z]"


def _text(pattern: str) -> Callable[[object], bool]:
    match = re.compile(pattern, re.ASCII).fullmatch
    return lambda value: isinstance(value, str) and match(value) is not None


is_entry_id: Final = _text("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_is_time = _text(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_is_principal = _text(f"prn_{_ID}{{26}}")
_is_api_key = _text(f"key_{_ID}{{16}}")
# A card-shaped token begins with 9 and its bucket, so with 90 or 91, where no network issues.
_is_token = _text(f"tok_{_ID}{{28}}|act_{_ID}{{30}}|9[01][0-9]{{11,17}}")
# The name of a part of the service, of a process role, of a key in Vault.
_is_part_name = _text("[a-z][a-z0-9-]{0,63}")
_is_code = _text("[a-z][a-z0-9_]{0,63}")
_is_address_like = _text("[0-9a-f:.]{2,45}")
_is_hash = _text("[0-9a-f]{64}")
_is_word = _text(f"[A-Za-z0-9_.:+/=-]{{1,{MAX_DETAIL}}}")
_is_list = _text("[a-z][a-z0-9_]*(?: [a-z][a-z0-9_]*)*")
# As many digits as a card's number has, and nothing else but separators.
_holds_card_length = re.compile("(?:[0-9][.:+/=-]*){13,19}", re.ASCII).fullmatch


class EntryError(ValueError):
    """The entry may not be written, or the bytes are not an entry. Never quotes what it refuses."""

    code = "ledger_entry_invalid"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _is_real_time(value: object) -> bool:
    if not _is_time(value):
        return False
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def _is_address(value: str) -> bool:
    if value in PLACES:
        return True
    if not _is_address_like(value):
        return False
    # Not compared with the text that this Python would write: newer ones write mapped addresses
    # in another way, and an entry that was valid once stays valid.
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_actor(value: object) -> bool:
    if not isinstance(value, dict) or not {"kind", "id"} <= set(value) <= {"kind", "id", "key"}:
        return False
    if "key" in value and not _is_api_key(value["key"]):
        return False
    if value["kind"] == "principal":
        return _is_principal(value["id"])
    if value["kind"] == "system":
        return _is_part_name(value["id"]) and "key" not in value
    return bool(value["kind"] == "unknown" and value["id"] == "unknown")


def _is_origin(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"role", "address"}
        and _is_part_name(value["role"])
        and isinstance(value["address"], str)
        and _is_address(value["address"])
    )


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_token, value))


def _is_part(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"number", "of", "batch"}
        and _is_count(value["number"])
        and _is_count(value["of"])
        and 1 <= value["number"] <= value["of"]
        and 1 < value["of"] <= MAX_PARTS
        and is_entry_id(value["batch"])
    )


def _is_commitments(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(map(_is_code, value))
        and all(map(_is_hash, value.values()))
    )


def _is_detail(name: str, value: object) -> bool:
    if not isinstance(value, str):
        return _is_count(value)
    if name in LISTS:
        return len(value) <= MAX_DETAIL and _is_list(value)
    return _is_word(value) and _holds_card_length(value) is None


_EVENTS: Final = frozenset(event.value for event in Event)
_OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)
_REQUIRED: Final[Mapping[str, Callable[[object], bool]]] = {
    "v": lambda value: value == VERSION and _is_count(value),
    "id": is_entry_id,
    "at": _is_real_time,
    "event": lambda value: isinstance(value, str) and value in _EVENTS,
    "outcome": lambda value: isinstance(value, str) and value in _OUTCOMES,
    "actor": _is_actor,
    "origin": _is_origin,
}
_OPTIONAL: Final[Mapping[str, Callable[[object], bool]]] = {
    "request": _text(f"req_{_ID}{{26}}"),
    "tokens": _is_tokens,
    "customer": _text(f"cus_{_ID}{{26}}"),
    "principal": _is_principal,
    "key": lambda value: _is_api_key(value) or _is_part_name(value),
    "grant": _text(f"dis_{_ID}{{28}}"),
    "ground": _is_code,
    "clause": _text("[A-Za-z0-9][A-Za-z0-9.-]{0,15}"),
    "policy": _is_hash,
    "reason": _is_code,
    "count": _is_count,
    "part": _is_part,
    "commitments": _is_commitments,
    "details": lambda value: isinstance(value, dict) and len(value) > 0,
}
_MEMBERS: Final = {**_REQUIRED, **_OPTIONAL}


def check(members: Mapping[str, object]) -> None:
    """Return if these members make an entry of version 1.

    Raises:
        EntryError: names the member at fault, and nothing of what stands in it.
    """
    for name in _REQUIRED:
        if name not in members:
            raise EntryError(f"the entry has no {name}")
    for name, value in members.items():
        fits = _MEMBERS.get(name)
        if fits is None:
            raise EntryError("the entry has a member that no entry has")
        if not fits(value):
            raise EntryError(f"the member {name} is not of its form")
    _check_shape(members)


def _check_shape(members: Mapping[str, object]) -> None:
    """Check what depends on the event, and what one member says of another."""
    event = Event(str(members["event"]))
    shape = SHAPES[event]
    for name in sorted(shape.needs):
        if name not in members:
            raise EntryError(f"an entry of {event} needs the member {name}")
    if shape.outcome is not None and members["outcome"] != shape.outcome:
        raise EntryError(f"an entry of {event} has the outcome {shape.outcome}")
    details: Any = members.get("details", {})
    for name, value in details.items():
        if name not in shape.details:
            raise EntryError(f"an entry of {event} has a detail that it may not have")
        if not _is_detail(name, value):
            raise EntryError(f"the detail {name} is not of its form")
    part: Any = members.get("part")
    if part is not None and (part["number"] == 1) != (part["batch"] == members["id"]):
        raise EntryError("the first part, and only it, gives the batch its id")
