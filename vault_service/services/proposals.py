"""From what a customer asks for to a value that is sealed for the record that it is meant for.

A proposed value is sealed at once, under a data key of its own and for the very version that the
record would then have; its leaf in the ledger's commitment is that of the record that it would
become. Nothing here opens anything, and nothing here writes but fingerprints that are re-indexed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, TypeVar
from uuid import UUID

from keys.envelope import Context, seal
from vault_service.domain import freetext, tokens
from vault_service.domain import modifications as rules
from vault_service.domain.classes import DataClass, rule, tokenizable
from vault_service.domain.modifications import Source, Unassigned
from vault_service.domain.values import Value, parse
from vault_service.errors import InvalidInput, NotFound, ServiceError
from vault_service.services import bindings
from vault_service.services.crypto_ports import DataKeys, Fingerprinting
from vault_service.services.indexing import Indexing
from vault_service.services.modification_ports import Identified, NewModification, ProposedValue
from vault_service.services.ports import Transaction, UnitOfWork

TICKET_LENGTH: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ModificationDraft:
    """A change as it is asked for.

    Attributes:
        customer: whose data.
        ticket: the helpdesk's or the message's reference.
        data_class: what the new value is; with neither class nor value somebody reads the message.
        value: the new value.
        token: which record; without it the customer's only one of the class.
        source: how the customer asked.
        unassigned: why the customer is one made for an unknown sender.
    """

    customer: str
    ticket: str
    data_class: str | None = None
    value: object = field(default=None, repr=False)
    token: str | None = None
    source: Source = Source.TICKET
    unassigned: Unassigned | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A value that passed its checks and the record that it is meant for."""

    record: Identified
    value: Value = field(repr=False)

    @property
    def variant(self) -> str:
        """What tells the record apart from others of its fingerprint, once it has the value."""
        return f"{self.record.format} {self.value.variant}".rstrip()


# What each draft of a batch means, by its place; None where a person must read it.
Targets = dict[int, Target | None]
Problems = dict[int, ServiceError]
# Fingerprint of each new value, with the version of the key that made it.
Prints = dict[int, tuple[bytes, int]]


class Proposals:
    """Reads drafts, and seals what they propose.

    Args:
        uow: the database role of ingest.
        data_keys: a key for each value.
        fingerprints: tells a change from none.
        today: by which a card has expired or not.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        data_keys: DataKeys,
        fingerprints: Fingerprinting,
        today: Callable[[], date],
    ) -> None:
        self._uow = uow
        self._data_keys = data_keys
        self._indexing = Indexing(uow=uow, fingerprints=fingerprints)
        self._today = today

    def targets(self, drafts: Sequence[ModificationDraft], problems: Problems) -> Targets:
        """What each draft means; None where a person must read it. Problems go to `problems`."""
        checked: dict[int, tuple[DataClass, str | None] | None] = {}
        for index, draft in enumerate(drafts):
            try:
                checked[index] = _check(draft)
            except ServiceError as problem:
                problems[index] = problem
        with self._uow.begin(read_only=True) as tx:
            records = _records(tx, drafts, checked)
        targets: Targets = {}
        today = self._today()
        for index, asked in checked.items():
            if asked is None:
                targets[index] = None
                continue
            try:
                record = _record_of(drafts[index], asked, records)
                value = parse(asked[0], drafts[index].value, today=today, pointer="/value")
                targets[index] = Target(record=record, value=value)
            except ServiceError as problem:
                problems[index] = problem
        return targets

    def compare(self, targets: Targets, problems: Problems) -> Prints:
        """Fingerprint the new values; one that is no change is taken out of `targets`."""
        wanted = {index: target for index, target in targets.items() if target is not None}
        made = self._indexing.make(
            [(each.value.data_class, each.value.normalised) for each in wanted.values()],
            lambda: [
                (tokens.bucket_of(each.record.customer), each.record.customer, each.variant)
                for each in wanted.values()
            ],
        )
        prints: Prints = {}
        for (index, target), fingerprint, older in zip(
            wanted.items(), made.current, made.older, strict=True
        ):
            same = {each.digest for each in (fingerprint, *older)}
            if target.record.fingerprint in same and target.variant == target.record.variant:
                del targets[index]
                problems[index] = InvalidInput(
                    "this is the present value", code="value_unchanged", pointer="/value"
                )
            else:
                prints[index] = fingerprint.digest, fingerprint.key_version
        return prints

    def seal(
        self, targets: Targets, customers: dict[int, str], prints: Prints
    ) -> dict[int, ProposedValue]:
        """Each value, sealed for the version that it would become.

        Raises:
            VaultUnavailable: there are no data keys.
        """
        by_kek: dict[str, list[tuple[int, Target]]] = defaultdict(list)
        for index, target in targets.items():
            if target is not None:
                by_kek[rule(target.value.data_class).kek].append((index, target))
        sealed: dict[int, ProposedValue] = {}
        for kek, group in by_kek.items():
            for (index, target), key in zip(
                group, self._data_keys.take(kek, len(group)), strict=True
            ):
                version = target.record.version + 1
                context = Context(
                    token=target.record.token,
                    customer=customers[index],
                    data_class=target.value.data_class,
                    record_version=version,
                )
                digest, key_version = prints[index]
                sealed[index] = ProposedValue(
                    token=target.record.token,
                    data_class=target.value.data_class,
                    record_version=version,
                    variant=target.variant,
                    mask=target.value.mask,
                    fingerprint=digest,
                    fingerprint_version=key_version,
                    envelope=seal(key, target.value.sealed, context),
                    wrapped_key=key.wrapped,
                )
        return sealed

    def rows(
        self,
        opened_by: str,
        drafts: Sequence[ModificationDraft],
        targets: Targets,
        prints: Prints,
    ) -> dict[int, NewModification]:
        """The rows of a batch, each with its value sealed.

        Raises:
            VaultUnavailable: there are no data keys.
        """
        customers = {index: drafts[index].customer for index in targets}
        sealed = self.seal(targets, customers, prints)
        rows: dict[int, NewModification] = {}
        for index in targets:
            draft = drafts[index]
            bucket = tokens.bucket_of(draft.customer)
            rows[index] = NewModification(
                bucket=bucket,
                id=tokens.new_modification_id(bucket),
                customer=draft.customer,
                source=draft.source,
                ticket=draft.ticket,
                opened_by=opened_by,
                life=rules.LIFE,
                value=sealed.get(index),
                unassigned=draft.unassigned,
            )
        return rows


_V = TypeVar("_V", ProposedValue, ProposedValue | None)


def bound(entry: str, value: _V) -> tuple[dict[str, str], _V]:
    """What an entry commits to of a proposed value, and the value with its binding.

    The leaf is that of the record that the value would become, so that it is bound as it is when
    it is applied.
    """
    if value is None:
        return {}, value
    digest = bindings.envelope_hash(value.envelope)
    leaf = bindings.leaf(value.token, value.record_version, value.wrapped_key, digest)
    commitments, (binding,) = bindings.bind(UUID(entry), [leaf])
    return commitments, replace(value, binding=binding)


class FloorRaised(Exception):
    """A value was sealed under a KEK version that a rotation has retired from writing."""

    def __init__(self, kek: str) -> None:
        super().__init__(kek)
        self.kek = kek


def check_floor(tx: Transaction, values: Sequence[ProposedValue]) -> None:
    """Return if all these values may be written.

    Raises:
        FloorRaised: one may not, for its key has been rotated.
    """
    floors = tx.floors.get() if values else {}
    for value in values:
        if value.wrapped_key.kek_version < floors.get(value.wrapped_key.kek, 0):
            raise FloorRaised(value.wrapped_key.kek)


def _check(draft: ModificationDraft) -> tuple[DataClass, str | None] | None:
    """Class and token of a draft, if it holds a value; None if a person must read it.

    Raises:
        InvalidInput: what is wrong, and where.
    """
    tokens.check_customer_id(draft.customer, pointer="/customer")
    freetext.check_text(draft.ticket, pointer="/ticket", max_length=TICKET_LENGTH)
    if draft.token is not None:
        tokens.bucket_from_token(draft.token, pointer="/token")
    if draft.value is None and draft.data_class is None and draft.token is None:
        return None
    if draft.value is None or draft.data_class is None:
        raise InvalidInput(
            "name class and value, or neither",
            code="modification_incomplete",
            pointer="/value" if draft.value is None else "/class",
        )
    return tokenizable(draft.data_class), draft.token


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    """Live records that drafts name, and each customer's only one of a class."""

    by_token: dict[str, Identified]
    only: dict[tuple[str, str], str]


def _records(
    tx: Transaction,
    drafts: Sequence[ModificationDraft],
    checked: dict[int, tuple[DataClass, str | None] | None],
) -> _Records:
    unnamed = [
        (tokens.bucket_of(drafts[index].customer), drafts[index].customer, asked[0].value)
        for index, asked in checked.items()
        if asked is not None and asked[1] is None
    ]
    only = tx.modifications.only_of_class(unnamed)
    named = {asked[1] for asked in checked.values() if asked is not None and asked[1] is not None}
    every = sorted(named | set(only.values()))
    found = tx.modifications.identified([(tokens.bucket_from_token(name), name) for name in every])
    return _Records(by_token=found, only=only)


def _record_of(
    draft: ModificationDraft, asked: tuple[DataClass, str | None], records: _Records
) -> Identified:
    """The record that a draft is meant for.

    Raises:
        NotFound: the customer has no such record.
        InvalidInput: he has several of the class, or none, and the draft names no token; or the
            record is of another class.
    """
    data_class, token = asked
    if token is None:
        token = records.only.get((draft.customer, data_class.value))
        if token is None:
            raise InvalidInput(
                "the customer has not exactly one record of this class; name its token",
                code="record_ambiguous",
                pointer="/token",
            )
    record = records.by_token.get(token)
    if record is None or record.customer != draft.customer:
        raise NotFound("there is no such token", code="token_not_found", pointer="/token")
    if record.data_class != data_class:
        raise InvalidInput("the record is of another class", code="class_differs", pointer="/class")
    return record
