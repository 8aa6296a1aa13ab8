"""Customers' changes of their data: proposed, confirmed, applied; the token stays as it is.

A proposed value is sealed at once (`services.proposals`), for the very version that the record
would then have. So no step after it sees the value, and no role needs a right to read: what support
compares are two masks. Applying moves the sealed value in one statement that looks again
whether the record is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Final

from vault_service.domain import modifications as rules
from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.modifications import Identity, Reason, State, Step
from vault_service.errors import Conflict, InvalidInput, NotFound, ServiceError, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import changes, webhooks
from vault_service.services.audit import Audit, new_entry_id
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import DataKeys, Fingerprinting
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.modification_ports import (
    ModificationRow,
    NewModification,
    ProposedValue,
)
from vault_service.services.ports import RowRefused, Transaction, UnitOfWork
from vault_service.services.proposals import (
    FloorRaised,
    ModificationDraft,
    Prints,
    Problems,
    Proposals,
    Targets,
    bound,
    check_floor,
)
from vault_service.services.record_ports import MaskedRecord
from vault_service.services.views import ModificationPage, ModificationView

MAX_ITEMS: Final = 100
MAX_PAGE: Final = 100
# Tries at one batch: a rotation may begin while data keys wait in the pool.
MAX_TRIES: Final = 3
# What billing is told when a record has another value.
TOKEN_UPDATED: Final = "token.updated"  # noqa: S105 -- the name of a message


# What became of each draft of a batch, by its place.
Opened = dict[int, ModificationView | ServiceError]


class Modifications:
    """The use case. Needs the right to wrap and to fingerprint, and none to open anything."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        data_keys: DataKeys,
        fingerprints: Fingerprinting,
        audit: Audit,
        honeytokens: Honeytokens,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._uow = uow
        self._data_keys = data_keys
        self._proposals = Proposals(
            uow=uow, data_keys=data_keys, fingerprints=fingerprints, today=today
        )
        self._audit = audit
        self._honeytokens = honeytokens

    # ------------------------------------------------------------ asking

    def open(
        self, caller: Caller | str, drafts: Sequence[ModificationDraft]
    ) -> list[ModificationView | ServiceError]:
        """Open a change for each draft; one result for each, in order.

        A change that equals one that is pending, from the same ticket, is that one: its view says
        `created=False`.

        Args:
            caller: who asks; a plain text names a part of the service itself.
            drafts: what is asked for.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: too many at once.
            VaultUnavailable: nothing could be sealed, and nothing was opened.
        """
        if isinstance(caller, Caller):
            self._audit.require(caller, Action.REQUEST_MODIFICATION)
        if not 1 <= len(drafts) <= MAX_ITEMS:
            raise InvalidInput(f"1 to {MAX_ITEMS} changes at once", code="batch_size")
        problems: Problems = {}
        targets = self._proposals.targets(drafts, problems)
        prints = self._proposals.compare(targets, problems)
        opened = self._open(caller, drafts, targets, prints, once=None) or {}
        self._look(caller, opened.values())
        return [(opened | problems)[index] for index in range(len(drafts))]

    def open_once(
        self, part: str, drafts: Sequence[ModificationDraft], once: tuple[int, str]
    ) -> list[ModificationView] | None:
        """Open what a message from outside asks for; None where the message came before.

        A draft that does not hold becomes one that a person must read, so that nothing of the
        message is lost. All drafts are of one ticket and one customer.

        Args:
            part: which part of the service took the message.
            drafts: what it asks for.
            once: bucket of the customer, and the message's own id.

        Raises:
            ServiceError: not even a change without value could be opened; the message counts as
                not received.
        """
        unread: Problems = {}
        targets = self._proposals.targets(drafts, unread)
        prints = self._proposals.compare(targets, unread)
        asked = list(drafts)
        if unread:
            plain = replace(drafts[next(iter(unread))], data_class=None, value=None, token=None)
            wrong: Problems = {}
            self._proposals.targets([plain], wrong)
            _raise_first(wrong)
            targets[len(asked)] = None
            asked.append(plain)
        opened = self._open(part, asked, targets, prints, once=once)
        if opened is None:
            return None
        _raise_first(opened)
        return [view for view in opened.values() if isinstance(view, ModificationView)]

    def _open(
        self,
        caller: Caller | str,
        drafts: Sequence[ModificationDraft],
        targets: Targets,
        prints: Prints,
        *,
        once: tuple[int, str] | None,
    ) -> Opened | None:
        """Open changes; None, and nothing opened, where the message they are of came before.

        What is of one message is opened as a whole: its first problem is raised.
        """
        by = caller.principal.id if isinstance(caller, Caller) else caller
        for _ in range(MAX_TRIES):
            rows = self._proposals.rows(by, drafts, targets, prints)
            try:
                return self._uow.run(partial(self._insert, caller=caller, rows=rows, once=once))
            except FloorRaised as floor:
                self._data_keys.discard(floor.kek)
        raise _rotating()

    def propose(
        self,
        caller: Caller,
        modification: str,
        *,
        data_class: str,
        value: object,
        token: str | None = None,
    ) -> ModificationView:
        """Give an open change the value that somebody read out of the customer's message.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such change, or no such record of this customer.
            Conflict: it has a value already, or has come to its end.
            InvalidInput: the value is not as its class has it, or equals the present one.
        """
        self._audit.require(caller, Action.REQUEST_MODIFICATION)
        row = self._find(modification)
        draft = ModificationDraft(
            customer=row.customer,
            ticket=row.ticket,
            data_class=data_class,
            value=value,
            token=token,
        )
        problems: Problems = {}
        targets = self._proposals.targets([draft], problems)
        prints = self._proposals.compare(targets, problems)
        _raise_first(problems)
        for _ in range(MAX_TRIES):
            (proposed,) = self._proposals.seal(targets, {0: row.customer}, prints).values()
            try:
                return self._uow.run(
                    partial(
                        self._propose, caller=caller, modification=modification, proposed=proposed
                    )
                )
            except FloorRaised as floor:
                self._data_keys.discard(floor.kek)
            except RowRefused as refused:
                raise Conflict(
                    "the same change is pending under this ticket", code="modification_pending"
                ) from refused
        raise _rotating()

    def _propose(
        self, tx: Transaction, caller: Caller, modification: str, proposed: ProposedValue
    ) -> ModificationView:
        row = changes.locked(tx, modification)
        rules.advance(changes.state_now(row), Step.PROPOSE)
        check_floor(tx, [proposed])
        entry = new_entry_id()
        commitments, proposed = bound(entry, proposed)
        tx.modifications.propose(row.bucket, row.id, proposed, by=caller.principal.id)
        row = changes.locked(tx, modification)
        tx.outbox.append(
            changes.told(
                self._audit,
                Event.MODIFICATION_PROPOSED,
                caller,
                row,
                entry_id=entry,
                commitments=commitments,
            )
        )
        return changes.view(row, changes.current(tx, [row]))

    # ------------------------------------------------------------ deciding

    def confirm(self, caller: Caller, modification: str, *, how: str) -> ModificationView:
        """Record that the caller made sure that it is the customer who asks.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such change.
            Conflict: it has no value yet, was confirmed, or has come to its end.
            InvalidInput: `how` is not one of `Identity`.
        """
        self._audit.require(caller, Action.DECIDE_MODIFICATION)
        if how not in set(Identity):
            raise InvalidInput(
                "there is no such way to make sure", code="identity_unknown", pointer="/how"
            )
        with self._uow.begin() as tx:
            row = changes.locked(tx, modification)
            rules.advance(changes.state_now(row), Step.CONFIRM)
            tx.modifications.confirm(row.bucket, row.id, by=caller.principal.id, how=how)
            row = changes.locked(tx, modification)
            tx.outbox.append(
                changes.told(
                    self._audit, Event.MODIFICATION_CONFIRMED, caller, row, more={"how": how}
                )
            )
            return changes.view(row, changes.current(tx, [row]))

    def apply(self, caller: Caller, modification: str) -> ModificationView:
        """Make the proposed value the record's next version.

        Raises:
            Forbidden: the caller has no role for it, or it takes a second person.
            NotFound: there is no such change.
            Conflict: nobody confirmed it, the record has changed or ended since, or another
                record of the customer holds the value.
            Unavailable: a rotation is about to rewrap what the change holds; try again.
        """
        self._audit.require(caller, Action.DECIDE_MODIFICATION)
        try:
            return self._uow.run(lambda tx: self._apply(tx, caller, modification))
        except RowRefused as refused:
            raise Conflict(
                "another record of this customer holds this value", code="value_already_recorded"
            ) from refused

    def _apply(self, tx: Transaction, caller: Caller, modification: str) -> ModificationView:
        # The record's row is locked before any change of it, here as in an erasure: whoever held
        # his change and waited for the record would stand in the way of who supersedes it.
        tx.modifications.lock_record(*changes.named(modification))
        row = changes.locked(tx, modification)
        rules.advance(changes.state_now(row), Step.APPLY)
        rules.check_applier(
            str(row.data_class), confirmed_by=row.confirmed_by, principal=caller.principal.id
        )
        before = changes.current(tx, [row])
        applied = tx.modifications.apply(row.bucket, row.id, by=caller.principal.id)
        if applied is None:
            raise _why_not(tx, row, before.get(row.token or ""))
        token, version = applied
        row = changes.locked(tx, modification)
        webhooks.enqueue(
            tx,
            TOKEN_UPDATED,
            {
                "id": token,
                "class": str(row.data_class),
                "customer": row.customer,
                "version": version,
                "modification": row.id,
            },
            at=row.now,
            belongs_to=row.customer,
        )
        tx.outbox.append(
            changes.told(
                self._audit,
                Event.MODIFICATION_APPLIED,
                caller,
                row,
                more={"version": version},
                changed=[token],
            )
        )
        return changes.view(row, before)

    def reject(self, caller: Caller, modification: str, *, reason: str) -> ModificationView:
        """End a change because it should not be made; its value is destroyed.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such change.
            Conflict: it has come to its end.
            InvalidInput: `reason` is not one of `Reason`.
        """
        self._audit.require(caller, Action.DECIDE_MODIFICATION)
        if reason not in set(Reason):
            raise InvalidInput("there is no such reason", code="reason_unknown", pointer="/reason")
        return self._end(caller, modification, Step.REJECT, Event.MODIFICATION_REJECTED, reason)

    def withdraw(self, caller: Caller, modification: str) -> ModificationView:
        """End a change because the customer took it back; its value is destroyed.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such change.
            Conflict: it has come to its end.
        """
        self._audit.require(caller, Action.REQUEST_MODIFICATION)
        return self._end(caller, modification, Step.WITHDRAW, Event.MODIFICATION_WITHDRAWN, None)

    def _end(
        self, caller: Caller, modification: str, step: Step, event: Event, reason: str | None
    ) -> ModificationView:
        # Asks Vault for nothing: a change can be ended while Vault is away.
        with self._uow.begin() as tx:
            row = changes.locked(tx, modification)
            after = rules.advance(changes.state_now(row), step)
            current = changes.current(tx, [row])
            tx.modifications.end(row.bucket, row.id, after, by=caller.principal.id, reason=reason)
            row = changes.locked(tx, modification)
            tx.outbox.append(
                changes.told(
                    self._audit, event, caller, row, more={} if reason is None else {"why": reason}
                )
            )
            return changes.view(row, current)

    # ------------------------------------------------------------ reading

    def get(self, caller: Caller, modification: str) -> ModificationView:
        """One change, with the masks of the old and the new value.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such change.
        """
        self._audit.require(caller, Action.READ_MODIFICATIONS)
        row = self._find(modification)
        with self._uow.begin(read_only=True) as tx:
            view = changes.view(row, changes.current(tx, [row]))
        self._look(caller, (view,))
        return view

    def page(
        self,
        caller: Caller,
        *,
        customer: str | None,
        state: str | None,
        cursor: str | None,
        limit: int,
    ) -> ModificationPage:
        """Changes in the order of their ids; of one customer, in one state, or all.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the state, the customer, the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_MODIFICATIONS)
        if state is not None and state not in set(State):
            raise InvalidInput("there is no such state", code="state_unknown", pointer="/state")
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} changes", code="limit_invalid", pointer="/limit"
            )
        bucket: int | None = None
        if customer is not None:
            bucket = tokens.bucket_of(tokens.check_customer_id(customer, pointer="/customer"))
        if cursor is not None:
            tokens.bucket_from_modification_id(cursor, pointer="/cursor")
        with self._uow.begin(read_only=True) as tx:
            rows = tx.modifications.page(
                bucket=bucket, customer=customer, state=state, after=cursor, limit=limit + 1
            )
            current = changes.current(tx, rows[:limit])
        items = tuple(changes.view(row, current) for row in rows[:limit])
        self._look(caller, items)
        return ModificationPage(items=items, next=items[-1].id if len(rows) > limit else None)

    # ------------------------------------------------------------ parts

    def _look(self, caller: Caller | str, views: Iterable[ModificationView | ServiceError]) -> None:
        """Find out whoever is about to be answered with what no honest caller touches."""
        if isinstance(caller, Caller):
            shown = [view for view in views if isinstance(view, ModificationView)]
            names = {name for view in shown for name in (view.customer, view.token) if name}
            self._honeytokens.look(caller, names)

    def _insert(
        self,
        tx: Transaction,
        caller: Caller | str,
        rows: dict[int, NewModification],
        once: tuple[int, str] | None,
    ) -> Opened | None:
        if once is not None and not tx.modifications.first(*once):
            return None
        entries = {index: new_entry_id() for index in rows}
        committed: dict[int, dict[str, str]] = {}
        offered: list[NewModification] = []
        for index, row in rows.items():
            committed[index], value = bound(entries[index], row.value)
            offered.append(replace(row, value=value))
        check_floor(tx, [row.value for row in offered if row.value is not None])
        new = tx.modifications.insert(offered)
        stands = tx.modifications.equal(offered)
        current = changes.current(tx, list(stands.values()))
        results: Opened = {}
        for index, row in rows.items():
            stored = stands.get(row.id)
            if stored is None:
                results[index] = NotFound(
                    "there is no such customer", code="customer_not_found", pointer="/customer"
                )
                continue
            if row.id in new:
                tx.outbox.append(
                    changes.told(
                        self._audit,
                        Event.MODIFICATION_OPENED,
                        caller,
                        stored,
                        entry_id=entries[index],
                        commitments=committed[index],
                    )
                )
            results[index] = changes.view(stored, current, created=row.id in new)
        if once is not None:
            _raise_first(results)
        return results

    def _find(self, modification: str) -> ModificationRow:
        with self._uow.begin(read_only=True) as tx:
            row = tx.modifications.get(*changes.named(modification))
        if row is None:
            raise changes.not_found()
        return row


def _raise_first(results: Mapping[int, object]) -> None:
    for result in results.values():
        if isinstance(result, ServiceError):
            raise result


def _rotating() -> Unavailable:
    return Unavailable("the keys are being rotated", code="rotation_under_way", retry_after=5.0)


def _why_not(tx: Transaction, row: ModificationRow, record: MaskedRecord | None) -> ServiceError:
    """Why a confirmed change could not be applied."""
    if record is None:
        return Conflict("the record has come to its end", code="record_ended")
    if record.version + 1 != row.record_version:
        return Conflict(
            "the record has been changed since this was proposed", code="record_changed"
        )
    if tx.modifications.held(record.bucket, record.token):
        return Conflict("a legal hold keeps the record as it is", code="legal_hold")
    if tx.modifications.outdated(row.bucket, row.id):
        return Conflict(
            "values of this class are indexed anew since this was proposed",
            code="proposal_outdated",
            hint="withdraw it and propose the value again",
        )
    return _rotating()
