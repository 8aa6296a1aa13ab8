"""Tokenize: values in, tokens and masks out. The one path on which a value is written.

Writing needs no right to read: this use case holds data keys ready wrapped and the ingest role,
and could not open what it has just sealed once the request is over.

The steps of a batch, whoever its callers are:
1. parse and check every item; a bad one is answered alone.
2. fingerprint the good ones in Vault; bind each Idempotency-Key to its request body.
3. seal each distinct value once, under a data key of its own.
4. one unit of work: claim the Idempotency-Keys, upsert the records, append the ledger entries,
   keep the answers. All of it commits, or none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import Final
from uuid import UUID

from msgspec import structs

from keys.envelope import Context, seal
from vault_service.domain import freetext, tokens
from vault_service.domain.actors import Action
from vault_service.domain.classes import RULES, DataClass, rule, tokenizable
from vault_service.domain.values import Value, parse
from vault_service.errors import InvalidInput, NotFound, ServiceError, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import bindings, replay
from vault_service.services.audit import Audit, Denials, new_entry_id
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import DataKeys, Fingerprinting
from vault_service.services.gather import apart
from vault_service.services.indexing import Indexing
from vault_service.services.lanes import LARGE, Lanes
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import RowRefused, Transaction, UnitOfWork
from vault_service.services.record_ports import MaskedRecord, NewRecord, TokenTaken
from vault_service.services.record_writing import (
    FIRST_VERSION,
    FloorRaised,
    Identity,
    leaf_of,
    upsert,
)
from vault_service.services.reindex_ports import FingerprintOutdated
from vault_service.services.views import TokenizeAnswer, TokenView, token_view

MAX_ITEMS: Final = 1000
REFERENCE_LENGTH: Final = 200
# Tries at one batch. A card-shaped token of 13 digits has 10^4 forms for one bucket and last four,
# so a draw that is taken is drawn again; this many in a row mean that the space is full.
MAX_TRIES: Final = 8
FORMATS: Final = ("opaque", "card")
# Who ends an expired record that stands in the way of a new one: nobody asked for it.
ACTOR: Final = "tokenization"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeItem:
    """One value to tokenize, as the caller sent it."""

    data_class: str
    customer: str
    value: object = field(repr=False)
    format: str = "opaque"
    reference: str | None = None
    metadata: object | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRequest:
    """One call. `body` is what an Idempotency-Key is bound to.

    `only` is the class of a call that takes one class which `POST /v1/tokens` does not take.
    """

    caller: Caller
    items: tuple[TokenizeItem, ...]
    batch: bool
    only: DataClass | None = None
    idempotency_key: str | None = None
    body: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Item:
    """An item that passed its checks, on its way to a result."""

    slot: int
    item: TokenizeItem = field(repr=False)
    value: Value = field(repr=False)
    bucket: int
    variant: str
    metadata: Mapping[str, str] | None
    digest: bytes = b""
    key_version: int = 0

    @property
    def identity(self) -> Identity:
        return self.bucket, self.item.customer, self.value.data_class, self.digest, self.variant


@dataclass(slots=True)
class _Work:
    """A request under way."""

    request: TokenizeRequest
    results: list[TokenView | ServiceError | None]
    items: list[_Item] = field(default_factory=list)
    claim: replay.Claim | None = None
    answer: TokenizeAnswer | ServiceError | None = None
    entry: str = field(default_factory=new_entry_id)

    def settle(self) -> TokenizeAnswer:
        """Every slot has its result now."""
        results = tuple(result for result in self.results if result is not None)
        if len(results) != len(self.results):  # a slot left empty would shift its neighbours
            raise Unavailable("an item was left without a result", code="internal_error")
        return TokenizeAnswer(results=results)


class Tokenization:
    """The use case. Thread-safe."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        data_keys: DataKeys,
        fingerprints: Fingerprinting,
        audit: Audit,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._uow = uow
        self._data_keys = data_keys
        self._fingerprints = fingerprints
        self._indexing = Indexing(uow=uow, fingerprints=fingerprints)
        self._audit = audit
        self._today = today
        self._lanes = Lanes()

    def submit(self, request: TokenizeRequest) -> TokenizeAnswer:
        """Tokenize one request's items.

        Returns:
            One result for each item, in order: a masked view, or that item's error.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the request as a whole is wrong (number of items).
            Conflict: the Idempotency-Key was used with another body.
            Unavailable: Vault or the database is; nothing was written.
        """
        (answer,) = self.submit_many([request])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit_many(self, requests: Sequence[TokenizeRequest]) -> list[TokenizeAnswer | Exception]:
        """As `submit`, for several requests together: an answer or an error for each."""
        return apart(requests, self._checked, self._in_a_lane, self._audit)

    def _checked(self, request: TokenizeRequest, denials: Denials) -> TokenizeRequest:
        action = Action.TOKENIZE_BATCH if request.batch else Action.TOKENIZE
        if request.only is not None:
            action = Action.RECORD_ACCOUNT_DATA
        denials.require(request.caller, action)
        if not 1 <= len(request.items) <= MAX_ITEMS:
            raise InvalidInput(
                f"a batch holds 1 to {MAX_ITEMS} items", code="batch_size", pointer="/items"
            )
        return request

    def _in_a_lane(self, requests: Sequence[TokenizeRequest]) -> list[TokenizeAnswer | Exception]:
        if len(requests) > 1:
            return self.run(requests)
        (request,) = requests
        with self._lanes.one(len(request.items), deadline=request.caller.deadline):
            return self.run(requests)

    def run(self, requests: Sequence[TokenizeRequest]) -> list[TokenizeAnswer | Exception]:
        """Tokenize the items of many requests together; one answer or error for each."""
        works = [_Work(request, [None] * len(request.items)) for request in requests]
        self._prepare_keys(works)
        today = self._today()
        for work in works:
            _prepare(work, today)
        live = [work for work in works if work.items]
        if live:
            self._fingerprint(live)
            self._write(live)
        return [work.answer or work.settle() for work in works]

    def _prepare_keys(self, works: Sequence[_Work]) -> None:
        """Have the keys of a large batch wrapped while its items are parsed and fingerprinted."""
        wanted = Counter(
            item.data_class if work.request.only is None else work.request.only
            for work in works
            if len(work.request.items) >= LARGE
            for item in work.request.items
        )
        for data_class, count in wanted.items():
            if data_class in RULES:
                self._data_keys.prepare(rule(DataClass(data_class)).kek, count)

    def _fingerprint(
        self, works: Sequence[_Work], versions: Mapping[str, int] | None = None
    ) -> None:
        """Give every item its fingerprint and every Idempotency-Key its claim."""
        items = [item for work in works for item in work.items]
        keyed = [work for work in works if work.request.idempotency_key is not None]
        fingerprints = self._indexing.make(
            [(item.value.data_class, item.value.normalised) for item in items],
            lambda: [(item.bucket, item.item.customer, item.variant) for item in items],
            others=[replay.bound(work.request.body) for work in keyed],
            versions=versions,
        ).current
        for item, fingerprint in zip(items, fingerprints, strict=False):
            item.digest, item.key_version = fingerprint.digest, fingerprint.key_version
        for work, fingerprint in zip(keyed, fingerprints[len(items) :], strict=True):
            work.claim = replay.Claim.of(
                work.request.caller.principal.id, work.request.idempotency_key or "", fingerprint
            )

    def _write(self, works: Sequence[_Work]) -> None:
        """Try until the batch holds; whatever stood in the way is drawn or wrapped anew."""
        refused: set[Identity] = set()
        for _ in range(MAX_TRIES):
            offered = self._offer(works, refused)
            try:
                answers = self._uow.run(partial(self._commit, works=works, offered=offered))
            except TokenTaken:
                continue
            except RowRefused as fault:
                found = self._refused(offered)
                if not found:  # no record is at fault: another try would end alike
                    raise Unavailable(
                        "the database refused the batch", code="internal_error"
                    ) from fault
                refused |= found
                continue
            except FloorRaised as floor:
                # A rotation began while these keys waited in the pool.
                self._data_keys.discard(floor.kek)
                continue
            except FingerprintOutdated as outdated:
                # A re-index began, or another process has not heard of it yet.
                self._fingerprint(works, outdated.versions)
                continue
            for work, answer in answers:
                work.answer = answer
            return
        raise Unavailable("no free token could be drawn", code="token_space_exhausted")

    def _offer(self, works: Sequence[_Work], refused: set[Identity]) -> dict[Identity, NewRecord]:
        """Seal each distinct value once; equal items of the batch share the longest life."""
        merged: dict[Identity, tuple[_Item, datetime | None]] = {}
        for item in (item for work in works for item in work.items):
            first, until = merged.get(item.identity, (item, item.item.expires_at))
            merged[item.identity] = first, _later(until, item.item.expires_at)
        by_kek: dict[str, list[Identity]] = defaultdict(list)
        for identity in merged.keys() - refused:
            by_kek[rule(DataClass(identity[2])).kek].append(identity)
        offered: dict[Identity, NewRecord] = {}
        for kek, identities in by_kek.items():
            for identity, key in zip(
                identities, self._data_keys.take(kek, len(identities)), strict=True
            ):
                item, until = merged[identity]
                token = _draw(item)
                context = Context(
                    token=token,
                    customer=item.item.customer,
                    data_class=item.value.data_class,
                    record_version=FIRST_VERSION,
                )
                offered[identity] = NewRecord(
                    bucket=item.bucket,
                    token=token,
                    customer=item.item.customer,
                    data_class=item.value.data_class,
                    format=item.item.format,
                    variant=item.variant,
                    mask=item.value.mask,
                    fingerprint=item.digest,
                    fingerprint_version=item.key_version,
                    envelope=seal(key, item.value.sealed, context),
                    wrapped_key=key.wrapped,
                    metadata=item.metadata,
                    reference=item.item.reference,
                    expires_at=until,
                )
        return offered

    def _commit(
        self,
        tx: Transaction,
        works: Sequence[_Work],
        offered: Mapping[Identity, NewRecord],
    ) -> list[tuple[_Work, TokenizeAnswer | ServiceError]]:
        """The unit of work. Answers count only once it has committed."""
        fresh, repeated = self._claim(tx, works)
        # Each value is bound by the entry of the first work that brings it.
        committed, bound = bindings.shared(
            (
                (UUID(work.entry), [i.identity for i in work.items if i.identity in offered])
                for work in fresh
            ),
            lambda identity: leaf_of(offered[identity]),
        )
        stands, ended = upsert(
            tx,
            [
                structs.replace(offered[identity], binding=binding)
                for identity, binding in bound.items()
            ],
        )
        now = tx.clock.now()
        for customer, gone in ended.items():
            tx.outbox.append(
                self._audit.entries(
                    Event.TOKENS_EXPIRED, ACTOR, at=now, customer=customer, tokens=gone
                )
            )
        named: set[str] = set()
        entries: list[OutboxEntry] = []
        answers: list[tuple[_Work, TokenizeAnswer]] = []
        for work in fresh:
            for item in work.items:
                work.results[item.slot] = _result(
                    item, offered.get(item.identity), stands.get(item.identity), named
                )
            answer = work.settle()
            entries += self._entries(work, answer, now, committed[UUID(work.entry)])
            answers.append((work, answer))
        tx.outbox.append(entries)
        kept = [
            (*work.claim.name, replay.encode(answer))
            for work, answer in answers
            if work.claim is not None
        ]
        if kept:
            tx.idempotency.answer(kept)
        return [*answers, *((work, self._repeat(tx, work)) for work in repeated)]

    def _claim(self, tx: Transaction, works: Sequence[_Work]) -> tuple[list[_Work], list[_Work]]:
        """Part the works that go ahead from those that repeat an earlier request."""
        first: dict[tuple[int, str, str], _Work] = {}
        for work in works:
            if work.claim is not None:
                first.setdefault(work.claim.name, work)
        new = (
            tx.idempotency.claim(
                [work.claim.row for work in first.values() if work.claim is not None]
            )
            if first
            else set()
        )
        fresh: list[_Work] = []
        repeated: list[_Work] = []
        for work in works:
            claim = work.claim
            goes = claim is None or (first[claim.name] is work and claim.name[1:] in new)
            (fresh if goes else repeated).append(work)
        return fresh, repeated

    def _repeat(self, tx: Transaction, work: _Work) -> TokenizeAnswer | ServiceError:
        """The first answer to this Idempotency-Key, or a refusal when the bodies differ.

        The first may stand in this very transaction; its answer is stored by now all the same.
        """
        claim = work.claim
        if claim is None:
            raise Unavailable("a repetition has a key", code="internal_error")
        stored = tx.idempotency.find([claim.name]).get(claim.name[1:])
        return replay.answer(
            stored,
            claim,
            lambda: self._fingerprints.candidates([replay.bound(work.request.body)])[0],
        )

    def _entries(
        self, work: _Work, answer: TokenizeAnswer, now: datetime, commitments: Mapping[str, str]
    ) -> list[OutboxEntry]:
        views = [result for result in answer.results if isinstance(result, TokenView)]
        customers = {view.customer for view in views}
        created = sum(not view.deduplicated for view in views)
        return self._audit.entries(
            Event.TOKENS_CREATED,
            work.request.caller,
            at=now,
            entry_id=work.entry,
            commitments=commitments if created else {},
            tokens=list(dict.fromkeys(view.id for view in views)),
            customer=customers.pop() if len(customers) == 1 else None,
            count=len(views),
            details={
                "created": created,
                "deduplicated": sum(view.deduplicated for view in views),
                "refused": len(answer.results) - len(views),
            },
        )

    def _refused(self, offered: Mapping[Identity, NewRecord]) -> set[Identity]:
        """Find the items that the database will not take, each tried alone and undone."""
        refused: set[Identity] = set()
        for identity, record in offered.items():
            try:
                with self._uow.begin() as tx:
                    tx.records.upsert([record])
                    tx.rollback()
            except TokenTaken:
                continue
            except RowRefused:
                refused.add(identity)
        return refused


def _prepare(work: _Work, today: date) -> None:
    for slot, item in enumerate(work.request.items):
        pointer = f"/items/{slot}" if work.request.batch else ""
        try:
            work.items.append(_check(slot, item, today, pointer, work.request.only))
        except ServiceError as exc:
            work.results[slot] = exc


def _check(
    slot: int, item: TokenizeItem, today: date, pointer: str, only: DataClass | None
) -> _Item:
    """Check everything about an item that can be known without asking anybody.

    Raises:
        InvalidInput: what is wrong, and where.
    """
    data_class = only or tokenizable(item.data_class, pointer=f"{pointer}/class")
    if item.format not in FORMATS or (
        item.format == "card" and data_class is not DataClass.PAYMENT_CARD
    ):
        raise InvalidInput(
            "this class has no such token format",
            code="format_not_available",
            pointer=f"{pointer}/format",
        )
    tokens.check_customer_id(item.customer, pointer=f"{pointer}/customer")
    if item.reference is not None:
        freetext.check_text(
            item.reference, pointer=f"{pointer}/reference", max_length=REFERENCE_LENGTH
        )
    metadata = (
        None
        if item.metadata is None
        else freetext.check_metadata(item.metadata, pointer=f"{pointer}/metadata")
    )
    if item.expires_at is not None and item.expires_at <= datetime.now(UTC):
        raise InvalidInput(
            "the token would have expired already",
            code="expires_at_in_past",
            pointer=f"{pointer}/expires_at",
        )
    value = parse(data_class, item.value, today=today, pointer=f"{pointer}/value")
    return _Item(
        slot=slot,
        item=item,
        value=value,
        bucket=tokens.bucket_of(item.customer),
        variant=f"{item.format} {value.variant}".rstrip(),
        metadata=metadata,
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    """The later of two ends; None is never."""
    return None if one is None or other is None else max(one, other)


def _draw(item: _Item) -> str:
    """A token that nobody has, as far as randomness can promise."""
    if item.item.format == "card" and item.value.last_four and item.value.digits_length:
        return tokens.new_card_token(item.bucket, item.value.digits_length, item.value.last_four)
    return tokens.new_token(item.bucket)


def _result(
    item: _Item, offered: NewRecord | None, stands: MaskedRecord | None, named: set[str]
) -> TokenView | ServiceError:
    """One item's answer; `named` holds the tokens that an earlier item of the batch was given."""
    if offered is None:
        return InvalidInput("the database does not take this value", code="value_refused")
    if stands is None:
        return NotFound("there is no such customer", code="customer_not_found", pointer="/customer")
    deduplicated = stands.token != offered.token or stands.token in named
    named.add(stands.token)
    # The caller's own reference, which need not be that of the record that stood there.
    return token_view(stands, deduplicated=deduplicated, reference=item.item.reference)
