"""The auditor's report: what the entries of a period say of keys, rotations and disclosures.

Everything in it follows from the entries of a verified log, so whoever has an export makes the
same report, to the byte. It counts and orders, and judges only what the key inventory declares:
whether a key is older than its cryptoperiod. Nothing of a customer stands in it. It is fed entry
by entry while the verifier walks (`Collector.examine`), holds no entry, and needs only the
standard library. Entries from before the period tell the age of the keys; later ones are counted
as outside and not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from vault_service.ledger.entries import Entry, EntryError, Event, Outcome, decode
from vault_service.ledger.faults import LogError
from vault_service.ledger.verify import Verified

SCHEMA: Final = 1
# Points of one rotation's line in a chart; more would not be seen.
MAX_POINTS: Final = 200
_DAY: Final = timedelta(days=1)

_NEW_VERSION: Final = frozenset((Event.VAULT_KEY_CREATED, Event.VAULT_KEY_ROTATED))
_REVIEWS: Final = frozenset(
    (Event.ACCESS_REVIEW_OPENED, Event.ACCESS_REVIEW_COMPLETED, Event.ACCESS_REVIEW_OVERDUE)
)
_ALARMS: Final = frozenset((Event.ALARM_RAISED, Event.ALARM_CLEARED))
_OF_DISCLOSURES: Final[Mapping[Event, str]] = {
    Event.DISCLOSURE_SUBMITTED: "requested",
    Event.DISCLOSURE_DENIED: "denied",
    Event.DISCLOSURE_WITHDRAWN: "withdrawn",
    Event.DISCLOSURE_ACTIVATED: "granted",
    Event.DISCLOSURE_REVOKED: "revoked",
    Event.REVEAL_ALLOWED: "reveals",
    Event.REVEAL_REFUSED: "reveals_refused",
}


class ReportRefused(LogError):
    """No report can be made of this."""

    code = "report_refused"


@dataclass(slots=True)
class _Key:
    """A key's versions: version -> (index, time, exact) and what ended each."""

    made: dict[int, tuple[datetime, bool]] = field(default_factory=dict)
    retired_below: int = 0
    trimmed_below: int = 0


@dataclass(slots=True)
class _Rotation:
    """A rotation as its entries tell it."""

    key: str
    started: str | None = None
    reason: str | None = None
    rewrapped: int = 0
    points: list[tuple[str, int]] = field(default_factory=list)
    certificate: dict[str, Any] | None = None
    touched: bool = False


class Collector:
    """Gathers a report while the log is walked.

    Args:
        since: the period's first instant, in UTC.
        until: the first instant after the period, in UTC.
        periods: days after which each declared key is to be rotated, by name.

    Raises:
        ReportRefused: the period is empty.
    """

    def __init__(self, since: datetime, until: datetime, periods: Mapping[str, int]) -> None:
        if since >= until:
            raise ReportRefused("the period ends before it begins")
        self._since = since
        self._until = until
        self._periods = dict(periods)
        self._first: datetime | None = None
        self._entries = 0
        self._keys: dict[str, _Key] = {name: _Key() for name in periods}
        self._rotations: dict[str, _Rotation] = {}
        self._grounds: dict[tuple[str, str], Counter[str]] = {}
        self._refused: Counter[tuple[str, str]] = Counter()
        self._actors: Counter[str] = Counter()
        self._lists: dict[str, list[dict[str, Any]]] = {
            "access_reviews": [],
            "alarms": [],
            "policies": [],
        }

    def examine(self, index: int, data: bytes) -> None:
        """Take one entry in; shaped for `verify`.

        Raises:
            ReportRefused: it is not an entry.
        """
        try:
            entry = decode(data)
        except EntryError as error:
            raise ReportRefused(f"entry {index} is malformed: {error}", index=index) from error
        # The order of the log is not quite the order of the clocks.
        self._first = min(self._first or entry.at, entry.at)
        if entry.at >= self._until:
            return
        inside = entry.at >= self._since
        self._about_keys(index, entry, inside=inside)
        if entry.event is Event.POLICY_ADOPTED:
            self._list("policies", index, entry)
        if not inside:
            return
        self._entries += 1
        if entry.event in _REVIEWS:
            self._list("access_reviews", index, entry)
        elif entry.event in _ALARMS:
            self._list("alarms", index, entry)
        self._about_disclosures(entry)

    def report(self, verified: Mapping[str, Any]) -> dict[str, Any]:
        """The report, as plain values in a fixed order.

        Args:
            verified: what the verifier found, as plain values (`plain`).
        """
        return {
            "schema": SCHEMA,
            "period": {"from": _text(self._since), "to": _text(self._until)},
            "log": dict(verified),
            "entries_in_period": self._entries,
            "keys": [self._key(name) for name in sorted(self._keys)],
            "rotations": [
                self._rotation(name) for name, each in self._rotations.items() if each.touched
            ],
            "disclosures": [
                {"ground": ground, "clause": clause, **_counts(counts)}
                for (ground, clause), counts in sorted(self._grounds.items())
            ],
            "refused": [
                {"event": event, "reason": reason, "count": count}
                for (event, reason), count in sorted(self._refused.items())
            ],
            "refused_by_actor": [
                {"actor": actor, "count": count} for actor, count in sorted(self._actors.items())
            ],
            **self._lists,
        }

    # ------------------------------------------------------------ parts

    def _about_keys(self, index: int, entry: Entry, *, inside: bool) -> None:
        if entry.key is None:
            return
        to = entry.details.get("to_version", entry.details.get("version"))
        if entry.event in _NEW_VERSION and isinstance(to, int):
            self._keys.setdefault(entry.key, _Key()).made.setdefault(to, (entry.at, True))
        elif entry.event is Event.VAULT_KEY_RETIRED:
            self._keys.setdefault(entry.key, _Key()).retired_below = _number(
                entry, "min_decryption"
            )
        elif entry.event is Event.VAULT_KEY_TRIMMED:
            self._keys.setdefault(entry.key, _Key()).trimmed_below = _number(entry, "version")
        rotation = entry.details.get("rotation")
        if isinstance(rotation, str):
            self._about_rotation(rotation, index, entry, inside=inside)

    def _about_rotation(self, name: str, index: int, entry: Entry, *, inside: bool) -> None:
        rotation = self._rotations.setdefault(name, _Rotation(key=entry.key or ""))
        rotation.touched |= inside
        if entry.event is Event.ROTATION_STARTED:
            rotation.started = rotation.started or _text(entry.at)
            rotation.reason = str(entry.details.get("reason", "")) or None
        elif entry.event is Event.VAULT_KEY_REWRAPPED and _first_part(entry):
            rotation.rewrapped += entry.count or 0
            rotation.points.append((_text(entry.at), rotation.rewrapped))
            if len(rotation.points) > 2 * MAX_POINTS:
                # Every second one goes; the newest stays.
                rotation.points = rotation.points[::-1][::2][::-1]
        elif entry.event is Event.ROTATION_CERTIFICATE:
            rotation.certificate = {
                "index": index,
                "entry": entry.id,
                "at": _text(entry.at),
                **dict(sorted(entry.details.items())),
            }

    def _about_disclosures(self, entry: Entry) -> None:
        if entry.event in _OF_DISCLOSURES and entry.ground is not None:
            counts = self._grounds.setdefault((entry.ground, entry.clause or ""), Counter())
            counts[_OF_DISCLOSURES[entry.event]] += _first_part(entry)
            if entry.event is Event.REVEAL_ALLOWED and _first_part(entry):
                counts["values"] += entry.count or 0
        if entry.outcome is Outcome.REFUSED:
            self._refused[entry.event.value, entry.reason or ""] += 1
            self._actors[entry.actor.id] += 1

    def _list(self, name: str, index: int, entry: Entry) -> None:
        told: dict[str, Any] = {
            "index": index,
            "entry": entry.id,
            "at": _text(entry.at),
            "event": entry.event.value,
            "actor": entry.actor.id,
        }
        for member in ("principal", "policy", "reason", "grant", "key"):
            value = getattr(entry, member)
            if value is not None:
                told[member] = value
        self._lists[name].append({**told, **dict(sorted(entry.details.items()))})

    def _key(self, name: str) -> dict[str, Any]:
        key = self._keys[name]
        made = dict(key.made)
        if made and 1 not in made and self._first is not None:
            # Made before the log began, which is all that the log can say of it.
            made[1] = (self._first, False)
        elif not made and self._first is not None:
            made = {1: (self._first, False)}
        versions = [
            {
                "version": version,
                "since": _text(at),
                "exact": exact,
                "refused": version < key.retired_below,
                "trimmed": version < key.trimmed_below,
            }
            for version, (at, exact) in sorted(made.items())
        ]
        days = self._periods.get(name)
        newest = made[max(made)][0] if made else None
        age = None if newest is None else max(0, (self._until - newest) // _DAY)
        return {
            "key": name,
            "cryptoperiod_days": days,
            "age_days": age,
            "due": None if newest is None or days is None else _text(newest + days * _DAY),
            "overdue": age is not None and days is not None and age >= days,
            "versions": versions,
            "ages": self._ages(sorted(at for at, _ in made.values())),
        }

    def _ages(self, births: Sequence[datetime]) -> list[dict[str, Any]]:
        """The age of the newest version over the period: it grows, and each new one begins at 0.

        Two points where a version follows another: how old that one became, and 0.
        """
        points: list[tuple[datetime, datetime]] = []
        for birth, end in pairwise([*births, self._until]):
            begin = max(birth, self._since)
            if begin < end:
                points += [(begin, birth), (end, birth)]
        return [{"at": _text(at), "age_days": (at - birth) // _DAY} for at, birth in points]

    def _rotation(self, name: str) -> dict[str, Any]:
        rotation = self._rotations[name]
        step = -(-len(rotation.points) // MAX_POINTS) or 1
        points = rotation.points[::-1][::step][::-1]
        return {
            "rotation": name,
            "key": rotation.key,
            "started": rotation.started,
            "reason": rotation.reason,
            "rewrapped": rotation.rewrapped,
            "certificate": rotation.certificate,
            "progress": [{"at": at, "rewrapped": count} for at, count in points],
        }


def plain(found: Verified) -> dict[str, Any]:
    """What was proven, as plain values."""
    return {
        "ok": True,
        "origin": found.head.origin,
        "size": found.head.size,
        "root": found.head.root.hex(),
        "signers": [str(key) for key in found.signers],
        "cosigners": [
            {"key": str(one.key), "timestamp": one.timestamp} for one in found.cosignatures
        ],
        "continues": [{"size": one.size, "root": one.root.hex()} for one in found.kept],
        "entries": found.entries,
        "archived": [{"first": first, "last": end - 1} for first, end in found.missing],
        "events": dict(sorted(found.events.items())),
        "first_at": found.first_at,
        "last_at": found.last_at,
    }


def _counts(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in (*_OF_DISCLOSURES.values(), "values")}


def _first_part(entry: Entry) -> bool:
    """Whether to count what stands in every part of a split entry."""
    return entry.part is None or entry.part.number == 1


def _number(entry: Entry, name: str) -> int:
    value = entry.details.get(name)
    return value if isinstance(value, int) else 0


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
