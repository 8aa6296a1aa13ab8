"""The activity log: entries that were created while a customer was served (clause P3).

Entries of one customer and month that come together are one sealed value, a segment: one data key,
one envelope, one binding. Time and kind of each entry stand beside it, packed, so that a listing
touches no key. A segment never changes, and nothing here can change or delete one.

Nothing tells two equal entries apart from one that was sent twice, so a caller who repeats a
request shows an Idempotency-Key.
"""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec

from keys.data_keys import DataKey
from keys.envelope import Context, seal
from vault_service.domain import activity, tokens
from vault_service.domain.actors import Action
from vault_service.domain.classes import DataClass, rule
from vault_service.errors import Conflict, InvalidInput, NotFound, ServiceError, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import bindings, replay
from vault_service.services.activity_ports import NewSegment, SegmentHead
from vault_service.services.audit import Audit, new_entry_id
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import DataKeys, Fingerprinting
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import RowRefused, Transaction, UnitOfWork
from vault_service.services.record_writing import FIRST_VERSION, FloorRaised

# Entries of one customer in one call, and of many customers in one call of the loader.
MAX_ITEMS: Final = 1000
MAX_LOADED: Final = 10_000
MAX_PAGE: Final = 1000
# A segment is the least that is revealed, so it does not grow without need; and it fits its format.
SEGMENT_ENTRIES: Final = 256
SEGMENT_BYTES: Final = 60_000
MAX_TRIES: Final = 4
KEK: Final = rule(DataClass.ACTIVITY_LOG).kek
# What a listing shows when no times are named.
RECENT: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDraft:
    """An entry as a caller sends it."""

    customer: str
    at: datetime
    kind: str
    details: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of a call's entries: how many are kept, where, and what was refused by place."""

    recorded: int
    segments: tuple[str, ...]
    refused: Mapping[int, ServiceError]
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """An entry, masked."""

    segment: str
    at: datetime
    kind: activity.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityPage:
    """Entries in the order of their times, and the cursor of the next page."""

    items: tuple[EntryView, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Segment:
    """Entries that become one value, with their places in the call."""

    bucket: int
    customer: str
    month: date
    places: list[int]
    entries: list[activity.Entry] = field(repr=False)
    plain: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Work:
    """A call under way."""

    caller: Caller
    customer: str | None
    segments: list[_Segment]
    refused: dict[int, ServiceError]
    claim: replay.Claim | None
    body: bytes = field(repr=False)
    entry: str = field(default_factory=new_entry_id)


class Activity:
    """The use case. Thread-safe."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        data_keys: DataKeys,
        fingerprints: Fingerprinting,
        audit: Audit,
        honeytokens: Honeytokens,
    ) -> None:
        self._uow = uow
        self._data_keys = data_keys
        self._fingerprints = fingerprints
        self._audit = audit
        self._honeytokens = honeytokens
        self._lock = threading.Lock()
        self._open: set[date] = set()

    # ------------------------------------------------------------ writing

    def record(
        self,
        caller: Caller,
        drafts: Sequence[EntryDraft],
        *,
        customer: str | None = None,
        idempotency_key: str | None = None,
        body: bytes = b"",
    ) -> Recorded:
        """Keep entries; those that are refused are named by their places, the others are kept.

        Args:
            caller: who sends them.
            drafts: the entries.
            customer: the one customer of all of them; None for a loader's batch.
            idempotency_key: under which a repetition gets the first answer.
            body: what the key is bound to.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: there are none, or too many.
            Conflict: the Idempotency-Key was used with another body.
            Unavailable: Vault or the database is; nothing was written.
        """
        self._audit.require(caller, Action.RECORD_ACCOUNT_DATA)
        most = MAX_LOADED if customer is None else MAX_ITEMS
        if not 1 <= len(drafts) <= most:
            raise InvalidInput(f"1 to {most} entries at once", code="batch_size", pointer="/items")
        checked, refused = _checked(drafts)
        if customer is not None:
            # It stands in the address and not in the body.
            body = customer.encode() + b"\n" + body
        work = _Work(
            caller=caller,
            customer=customer,
            segments=list(_segments(checked)),
            refused=refused,
            claim=self._claim(caller, idempotency_key, body),
            body=body,
        )
        return self._write(work)

    def _claim(self, caller: Caller, key: str | None, body: bytes) -> replay.Claim | None:
        if key is None:
            return None
        (fingerprint,) = self._fingerprints.compute([replay.bound(body)])
        return replay.Claim.of(caller.principal.id, key, fingerprint)

    def _write(self, work: _Work) -> Recorded:
        """Try until it holds: a rotation may have begun, a month may have been dropped."""
        for _ in range(MAX_TRIES):
            self._make_room({segment.month for segment in work.segments})
            rows = self._sealed(work.segments)
            try:
                return self._uow.run(partial(self._commit, work=work, rows=rows))
            except FloorRaised as floor:
                self._data_keys.discard(floor.kek)
            except RowRefused:
                with self._lock:
                    self._open.clear()
        raise Unavailable("the entries could not be kept", code="internal_error")

    def _make_room(self, months: set[date]) -> None:
        with self._lock:
            missing = sorted(months - self._open)
        for month in missing:
            with self._uow.begin() as tx:
                tx.activity.open(month)
            with self._lock:
                self._open.add(month)

    def _sealed(self, segments: Sequence[_Segment]) -> list[NewSegment]:
        if not segments:
            return []
        keys = self._data_keys.take(KEK, len(segments))
        return [_seal(segment, key) for segment, key in zip(segments, keys, strict=True)]

    def _commit(self, tx: Transaction, work: _Work, rows: Sequence[NewSegment]) -> Recorded:
        claim = work.claim
        if claim is not None and claim.name[1:] not in tx.idempotency.claim([claim.row]):
            return self._repeated(tx, work, claim)
        commitments, bound = bindings.bind(UUID(work.entry), [_leaf(row) for row in rows])
        kept = self._insert(
            tx, [replace(row, binding=each) for row, each in zip(rows, bound, strict=True)]
        )
        refused = dict(work.refused)
        recorded = 0
        for segment, row in zip(work.segments, rows, strict=True):
            if row.id in kept:
                recorded += len(segment.places)
            else:
                refused |= {place: _customer_not_found() for place in segment.places}
        answer = Recorded(
            recorded=recorded,
            segments=tuple(row.id for row in rows if row.id in kept),
            refused=dict(sorted(refused.items())),
        )
        tx.outbox.append(
            self._audit.entries(
                Event.ACTIVITY_RECORDED,
                work.caller,
                at=tx.clock.now(),
                entry_id=work.entry,
                customer=work.customer if recorded else None,
                count=recorded,
                commitments=commitments if kept else {},
                details={"segments": len(kept), "refused": len(refused)},
            )
        )
        if claim is not None:
            tx.idempotency.answer([(*claim.name, _encode(answer))])
        return answer

    @staticmethod
    def _insert(tx: Transaction, rows: Sequence[NewSegment]) -> set[str]:
        """The ids of those that were inserted.

        Raises:
            FloorRaised: one was sealed under a KEK version that writes no more.
        """
        if not rows:
            return set()
        kept = tx.activity.record(rows)
        left = [row for row in rows if row.id not in kept]
        if left:
            floor = tx.floors.get().get(KEK, 0)
            if any(row.wrapped_key.kek_version < floor for row in left):
                raise FloorRaised(KEK)
        return kept

    def _repeated(self, tx: Transaction, work: _Work, claim: replay.Claim) -> Recorded:
        response = replay.response(
            tx.idempotency.find([claim.name]).get(claim.name[1:]),
            claim,
            lambda: self._fingerprints.candidates([replay.bound(work.body)])[0],
        )
        if isinstance(response, Conflict):
            raise response
        return _decode(response)

    # ------------------------------------------------------------ listing

    def page(
        self,
        caller: Caller,
        customer: str,
        *,
        begin: datetime | None,
        end: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> ActivityPage:
        """A customer's entries of a time, masked, oldest first. The reading is a ledger entry.

        Args:
            caller: who asks.
            customer: whose entries.
            begin: the earliest time; 31 days before `end`, if none is given.
            end: the first time that is left out; now, if none is given.
            cursor: `next` of the page before.
            limit: most entries on the page, 1 to 1,000.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the times, the cursor or the limit is wrong.
            NotFound: there is no such customer; a malformed id answers alike.
        """
        self._audit.require(caller, Action.READ_ACCOUNT_DATA)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} entries", code="limit_invalid", pointer="/limit"
            )
        after = None if cursor is None else _cursor(cursor)
        until = _limited(end) or datetime.now(UTC) + activity.AHEAD
        since = _limited(begin) or max(until - RECENT, activity.EARLIEST)
        try:
            tokens.check_customer_id(customer)
        except InvalidInput as exc:
            raise _customer_not_found() from exc
        bucket = tokens.bucket_of(customer)
        with self._uow.begin() as tx:
            found = _listed(
                tx,
                _Wanted(customer=customer, since=since, until=until, after=after, limit=limit + 1),
            )
            if not found and customer not in tx.customers.get([(bucket, customer)]):
                raise _customer_not_found()
            tx.outbox.append(
                self._audit.entries(
                    Event.CUSTOMER_READ,
                    caller,
                    at=tx.clock.now(),
                    customer=customer,
                    count=min(len(found), limit),
                )
            )
        self._honeytokens.look(caller, (customer,))
        items = tuple(
            EntryView(segment=segment, at=at, kind=kind) for at, segment, _, kind in found[:limit]
        )
        return ActivityPage(
            items=items, next=_write_cursor(found[limit - 1]) if len(found) > limit else None
        )


# (time, segment, place in it, kind): the order of a listing.
_Listed = tuple[datetime, str, int, activity.Kind]
_After = tuple[datetime, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What a listing is asked for."""

    customer: str
    since: datetime
    until: datetime
    after: _After | None
    limit: int

    def holds(self, at: datetime, segment: str, place: int) -> bool:
        """Whether an entry is one of those."""
        if not self.since <= at < self.until:
            return False
        return self.after is None or (at, segment, place) > self.after


def _listed(tx: Transaction, wanted: _Wanted) -> list[_Listed]:
    """The first entries of those that are wanted."""
    bucket = tokens.bucket_of(wanted.customer)
    start = wanted.since if wanted.after is None else max(wanted.since, wanted.after[0])
    if start >= wanted.until:
        return []
    heads = tx.activity.heads(bucket, wanted.customer, start, wanted.until, wanted.limit)
    needed = _needed(heads, start, wanted.limit)
    marks = tx.activity.marks(bucket, [(head.month, head.id) for head in needed])
    found = [
        (at, segment, place, kind)
        for segment, packed in marks.items()
        for place, (at, kind) in enumerate(activity.unpack(packed))
        if wanted.holds(at, segment, place)
    ]
    return heapq.nsmallest(wanted.limit, found)


def _needed(heads: Sequence[SegmentHead], start: datetime, limit: int) -> list[SegmentHead]:
    """Those heads that can hold one of the first `limit` entries from `start` on.

    A segment is not needed when so many entries have ended before it begins.
    """
    needed: list[SegmentHead] = []
    ending: list[tuple[datetime, int]] = []
    ended = 0
    for head in sorted(heads, key=lambda head: head.first_at):
        while ending and ending[0][0] < head.first_at:
            ended += heapq.heappop(ending)[1]
        if ended >= limit:
            break
        needed.append(head)
        if head.first_at > start:  # of what reaches over the start, nobody knows how much is behind
            heapq.heappush(ending, (head.last_at, head.entries))
    return needed


def _checked(
    drafts: Sequence[EntryDraft],
) -> tuple[list[tuple[int, str, activity.Entry]], dict[int, ServiceError]]:
    """Entries by place and customer, and what is wrong with the others."""
    now = datetime.now(UTC)
    checked: list[tuple[int, str, activity.Entry]] = []
    refused: dict[int, ServiceError] = {}
    known: set[str] = set()
    for place, draft in enumerate(drafts):
        try:
            if draft.customer not in known:
                tokens.check_customer_id(draft.customer, pointer=f"/items/{place}/customer")
                known.add(draft.customer)
            entry = activity.entry(
                draft.at, draft.kind, draft.details, now=now, pointer=f"/items/{place}"
            )
        except ServiceError as exc:
            refused[place] = exc
            continue
        checked.append((place, draft.customer, entry))
    return checked, refused


def _segments(checked: Sequence[tuple[int, str, activity.Entry]]) -> Iterator[_Segment]:
    """The entries of each customer and month, in the order of time, in pieces that fit."""
    groups: dict[tuple[str, date], list[tuple[datetime, int, activity.Entry]]] = defaultdict(list)
    for place, customer, entry in checked:
        groups[customer, activity.month_of(entry.at)].append((entry.at, place, entry))
    for (customer, month), group in groups.items():
        group.sort(key=lambda each: each[:2])
        for piece in _pieces(group):
            yield _Segment(
                bucket=tokens.bucket_of(customer),
                customer=customer,
                month=month,
                places=[place for _, place, _ in piece],
                entries=[entry for _, _, entry in piece],
                plain=b"[" + b",".join(encoded for encoded, _, _ in piece) + b"]",
            )


def _pieces(
    group: Sequence[tuple[datetime, int, activity.Entry]],
) -> Iterator[list[tuple[bytes, int, activity.Entry]]]:
    piece: list[tuple[bytes, int, activity.Entry]] = []
    size = 0
    for _, place, entry in group:
        encoded = _plain(entry)
        if piece and (len(piece) == SEGMENT_ENTRIES or size + len(encoded) > SEGMENT_BYTES):
            yield piece
            piece, size = [], 0
        piece.append((encoded, place, entry))
        size += len(encoded) + 1
    yield piece


def _plain(entry: activity.Entry) -> bytes:
    """An entry as it is sealed, and as a reveal returns it, parsed."""
    told: dict[str, Any] = {"at": entry.at, "kind": entry.kind}
    if entry.details is not None:
        told["details"] = entry.details
    return msgspec.json.encode(told)


def _seal(segment: _Segment, key: DataKey) -> NewSegment:
    name = tokens.new_segment_id(segment.bucket, segment.month)
    context = Context(
        token=name,
        customer=segment.customer,
        data_class=DataClass.ACTIVITY_LOG,
        record_version=FIRST_VERSION,
    )
    return NewSegment(
        bucket=segment.bucket,
        month=segment.month,
        id=name,
        customer=segment.customer,
        first_at=segment.entries[0].at,
        last_at=segment.entries[-1].at,
        marks=activity.pack(segment.entries),
        envelope=seal(key, segment.plain, context),
        wrapped_key=key.wrapped,
    )


def _leaf(row: NewSegment) -> bytes:
    digest = bindings.envelope_hash(row.envelope)
    return bindings.leaf(row.id, FIRST_VERSION, row.wrapped_key, digest)


class _Stored(msgspec.Struct):
    recorded: int
    segments: list[str]
    # place -> kind, code, detail, pointer
    refused: dict[int, tuple[str, str, str, str | None]]


_KINDS: Final[Mapping[str, type[ServiceError]]] = {
    kind.__name__: kind for kind in (InvalidInput, NotFound)
}


def _encode(answer: Recorded) -> bytes:
    return msgspec.json.encode(
        _Stored(
            recorded=answer.recorded,
            segments=list(answer.segments),
            refused={
                place: (type(error).__name__, error.code, error.detail, error.pointer)
                for place, error in answer.refused.items()
            },
        )
    )


def _decode(response: bytes) -> Recorded:
    stored = msgspec.json.decode(response, type=_Stored)
    return Recorded(
        recorded=stored.recorded,
        segments=tuple(stored.segments),
        refused={
            place: _KINDS[kind](detail, code=code, pointer=pointer)
            for place, (kind, code, detail, pointer) in stored.refused.items()
        },
        replayed=True,
    )


def _limited(at: datetime | None) -> datetime | None:
    """A time that the log can hold: what lies outside it has no entries, and no partition."""
    if at is None:
        return None
    latest = datetime.now(UTC) + 2 * activity.AHEAD
    return min(max(at, activity.EARLIEST), latest).astimezone(UTC)


def _write_cursor(last: _Listed) -> str:
    at, segment, place, _ = last
    return f"{at.isoformat()}~{segment}~{place}"


def _cursor(cursor: str) -> _After:
    at, _, rest = cursor.partition("~")
    segment, _, place = rest.partition("~")
    try:
        time = datetime.fromisoformat(at)
        number = int(place)
        known = time >= activity.EARLIEST and tokens.segment_place(segment) is not None
    except (ValueError, TypeError):  # a time without an offset compares with none
        known = False
    if not known:
        raise InvalidInput("this is not a cursor", code="cursor_invalid", pointer="/cursor")
    return time.astimezone(UTC), segment, number


def _customer_not_found() -> NotFound:
    return NotFound("there is no such customer", code="customer_not_found")
