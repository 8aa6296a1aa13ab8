"""One line of the ledger: who did what to which data, when, from where, and how it ended.

Entry, version 1: canonical JSON (`canonical`) of at most 4,096 bytes, an object with the members

    v            1
    id           UUID version 7, text                            always
    at           2026-11-23T08:00:00.000000Z                     always
    event        one of `events.Event`                           always
    outcome      success | refused | failed                      always
    actor        {kind, id, key?}                                always
    origin       {role, address}                                 always
    request      req_…       customer   cus_…        principal   prn_…  (whom it happened to)
    tokens       [tok_…, …]  key        an API key (key_…) or the name of a key in Vault
    grant        dis_…       ground, clause, policy (64 hex)     what allowed it
    reason       code of a refusal or alarm
    count        how many values the whole event is about
    part         {number, of, batch}: one of several entries of one event; batch = id of the first
    commitments  {name: 64 hex}                                  salted; see `commit`
    details      {name: text | integer}, names allowed by `events.SHAPES`

A member without a value is left out; there is no null. An entry holds no personal data and no
plaintext: every text has a form that leaves no room for prose. `address` is the network address of
the caller; callers are staff and systems of the company, never its customers, and PCI DSS 10.2.2
asks for the origin of each event.

Version 1 never changes. A reader of version 2 reads version 1 as well. Standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from vault_service.ledger import canonical, forms
from vault_service.ledger.events import SHAPES, Event, Outcome
from vault_service.ledger.forms import VERSION, EntryError

__all__ = [
    "MAX_ENTRY",
    "SHAPES",
    "VERSION",
    "Actor",
    "ActorKind",
    "Entry",
    "EntryError",
    "Event",
    "Origin",
    "Outcome",
    "Part",
    "commit",
    "decode",
    "encode",
    "new_salt",
    "place",
    "split",
]

# The outbox holds a row to it; 65,535 is what an entry bundle of tlog-tiles could carry.
MAX_ENTRY: Final = 4096
SALT_BYTES: Final = 32


class ActorKind(StrEnum):
    """Who acted: an authenticated principal, the service itself, or nobody known."""

    PRINCIPAL = "principal"
    SYSTEM = "system"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who did it.

    Attributes:
        kind: what `id` names.
        id: `prn_…` of a principal; the name of a part of the service (`worker`); `unknown`.
        key: the API key that was shown (`key_…`), if one was.
    """

    kind: ActorKind
    id: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where it came from.

    Attributes:
        role: process role that served it: ingest, reveal, console, worker, all, cli.
        address: IP address of the caller, or `local`; anything else is written as `unknown`, so
            that no odd proxy can keep an event out of the ledger or put a name into it.
    """

    role: str
    address: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which of several entries of one event this is: `number` 1 to `of`; `batch` the first's id."""

    number: int
    of: int
    batch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry; the module's docstring says what each member holds. Checked by `encode`."""

    id: str
    at: datetime
    event: Event
    outcome: Outcome
    actor: Actor
    origin: Origin
    request: str | None = None
    tokens: tuple[str, ...] = ()
    customer: str | None = None
    principal: str | None = None
    key: str | None = None
    grant: str | None = None
    ground: str | None = None
    clause: str | None = None
    policy: str | None = None
    reason: str | None = None
    count: int | None = None
    part: Part | None = None
    commitments: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str | int] = field(default_factory=dict)


_TEXTS: Final = (
    "request", "customer", "principal", "key", "grant", "ground", "clause", "policy", "reason",
)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def place(address: str) -> str:
    """The address as an entry can hold it: an IP address, `local`, or else `unknown`."""
    if address in forms.PLACES:
        return address
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    # One spelling for an IPv4 caller, whichever kind of socket it came in by.
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def encode(entry: Entry) -> bytes:
    """The entry's canonical bytes, at most `MAX_ENTRY`.

    Raises:
        EntryError: a member is not of its form, is not allowed for the event, is missing, or the
            whole is too long (then `split` it).
    """
    data = _bytes(entry)
    if len(data) > MAX_ENTRY:
        raise EntryError(f"the entry is longer than {MAX_ENTRY} bytes")
    return data


def decode(data: bytes) -> Entry:
    """The entry that these bytes are; `encode(decode(data)) == data`.

    Raises:
        EntryError: for every other byte string.
    """
    if len(data) > MAX_ENTRY:
        raise EntryError(f"the entry is longer than {MAX_ENTRY} bytes")
    try:
        members = canonical.parse(data)
    except canonical.CanonicalError as error:
        raise EntryError("the bytes are not canonical JSON") from error
    if not isinstance(members, dict):
        raise EntryError("the bytes are not an object")
    forms.check(members)
    return _from_members(members)


def split(entry: Entry, tokens: Sequence[str], new_id: Callable[[], str]) -> list[Entry]:
    """One event about many tokens, as entries that each fit.

    The first keeps the entry's id, so that a receipt can name it before. What the event has in
    all, `count` included, stands in every part; each token stands in one.

    Args:
        entry: the entry without tokens; without a count, it gets the number of tokens.
        tokens: the tokens that the event is about.
        new_id: makes the ids of the further parts, UUID version 7.

    Raises:
        EntryError: the entry leaves no room for a single token, or a member is not of its form.
    """
    if entry.count is None:
        entry = replace(entry, count=len(tokens))
    whole = replace(entry, tokens=tuple(tokens))
    # One token cannot be split; whether it fits is for `encode` to say.
    if len(tokens) <= 1 or _width(tokens) <= _room(entry, tokens[0]):
        return [whole]
    # Four digits each are as many as the number of parts can have.
    widest = Part(number=forms.MAX_PARTS, of=forms.MAX_PARTS, batch=entry.id)
    groups = _groups(tokens, _room(replace(entry, id=_OTHER_ID, part=widest), tokens[0]))
    ids = [entry.id, *(new_id() for _ in groups[1:])]
    return [
        replace(
            entry,
            id=part_id,
            tokens=group,
            part=Part(number=number, of=len(groups), batch=entry.id),
        )
        for number, (part_id, group) in enumerate(zip(ids, groups, strict=True), start=1)
    ]


# Stands for the id of a further part while the length of a part is measured.
_OTHER_ID: Final = "00000000-0000-7000-8000-000000000000"


def _width(tokens: Sequence[str]) -> int:
    """The length of the tokens in quotes, with the commas between them."""
    return sum(map(len, tokens)) + 3 * len(tokens) - 1


def _room(entry: Entry, token: str) -> int:
    """How wide the tokens of the entry may be; `token` is any one of them."""
    return MAX_ENTRY - len(_bytes(replace(entry, tokens=(token,)))) + _width((token,))


def _groups(tokens: Sequence[str], room: int) -> list[tuple[str, ...]]:
    """The tokens in groups whose quoted texts and commas take at most `room` bytes each."""
    groups: list[tuple[str, ...]] = []
    group: list[str] = []
    used = 0
    for token in tokens:
        size = len(token) + 3
        if size - 1 > room:
            raise EntryError("the entry leaves no room for a token")
        if group and used + size - 1 > room:
            groups.append(tuple(group))
            group, used = [], 0
        group.append(token)
        used += size
    groups.append(tuple(group))
    if len(groups) > forms.MAX_PARTS:
        raise EntryError("the event is about too many tokens")
    return groups


def _bytes(entry: Entry) -> bytes:
    members = _to_members(entry)
    forms.check(members)
    return canonical.serialise(members)


def _to_members(entry: Entry) -> dict[str, object]:
    offset = entry.at.utcoffset()
    if offset is None:
        raise EntryError("the time has no zone")
    at = entry.at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    members: dict[str, object] = {
        "v": VERSION,
        "id": entry.id,
        "at": f"{at}Z",
        "event": entry.event.value,
        "outcome": entry.outcome.value,
        "actor": _without_none(
            {"kind": entry.actor.kind.value, "id": entry.actor.id, "key": entry.actor.key}
        ),
        "origin": {"role": entry.origin.role, "address": place(entry.origin.address)},
        "tokens": list(entry.tokens) or None,
        "count": entry.count,
        "commitments": dict(entry.commitments) or None,
        "details": dict(entry.details) or None,
    }
    if entry.part is not None:
        members["part"] = {
            "number": entry.part.number,
            "of": entry.part.of,
            "batch": entry.part.batch,
        }
    members.update({name: getattr(entry, name) for name in _TEXTS})
    return _without_none(members)


def _without_none(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _from_members(members: Mapping[str, Any]) -> Entry:
    part = members.get("part")
    return Entry(
        id=members["id"],
        at=datetime.fromisoformat(members["at"]),
        event=Event(members["event"]),
        outcome=Outcome(members["outcome"]),
        actor=Actor(
            kind=ActorKind(members["actor"]["kind"]),
            id=members["actor"]["id"],
            key=members["actor"].get("key"),
        ),
        origin=Origin(**members["origin"]),
        tokens=tuple(members.get("tokens", ())),
        count=members.get("count"),
        part=None if part is None else Part(**part),
        commitments=members.get("commitments", {}),
        details=members.get("details", {}),
        **{name: members.get(name) for name in _TEXTS},
    )


def new_salt() -> bytes:
    """A fresh salt for `commit`; keep it beside the thing committed to, never in the ledger."""
    return secrets.token_bytes(SALT_BYTES)


def commit(value: bytes, salt: bytes) -> str:
    """A salted commitment: 64 hex digits that bind the entry to the value without telling it.

    HMAC-SHA256 keyed with a random salt is hiding as long as the salt is unknown, so deleting the
    salt unlinks the entry from the value for good, even for whoever can guess the value.

    Raises:
        ValueError: the salt is not of `SALT_BYTES` bytes.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError("a salt has 32 bytes")
    return hmac.new(salt, value, hashlib.sha256).hexdigest()
