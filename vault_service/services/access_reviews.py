"""Access reviews: every half year an officer says of each other holder whether he keeps his rights.

PCI DSS 7.2.4. Those reviewed are who may ask for plaintext or approve it. Nobody decides on
himself, so two officers review each other, and all requesters. A right that nobody reviewed in time
ends by the database's clock, at the next request (`authentication`), and officers who let another's
review pass lose the right to approve until it is done; reviewing itself is never taken, or a vault
could lock itself for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from vault_service.domain import tokens as names
from vault_service.domain.actors import Action, PrincipalState
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.review_ports import ReviewItem, ReviewRow

ACTOR: Final = "worker"
LEASE: Final = "access_review"
# Seconds between rounds of the worker.
PERIOD: Final = 60.0
# How long before the first right ends a review is opened: holidays are shorter.
AHEAD: Final = timedelta(days=30)
MAX_ITEMS: Final = 1000
MAX_SHOWN: Final = 100
OVERDUE: Final = "access_review_overdue"
QUIET: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewView:
    """A review and whom it is about; a page has no items."""

    row: ReviewRow
    items: tuple[ReviewItem, ...]


class Reviewing:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit, alarms: Alarms) -> None:
        self._uow = uow
        self._audit = audit
        self._alarms = alarms

    def page(self, caller: Caller) -> tuple[ReviewView, ...]:
        """The newest reviews, without their items.

        Raises:
            Forbidden: the caller is neither officer nor operator nor auditor.
        """
        self._audit.require(caller, Action.READ_ACCESS_REVIEWS)
        with self._uow.begin(read_only=True) as tx:
            rows = tx.access_reviews.page(MAX_SHOWN)
        return tuple(ReviewView(row=row, items=()) for row in rows)

    def get(self, caller: Caller, review: str) -> ReviewView:
        """One review: principals, roles, keys, last use, and what was decided.

        Raises:
            Forbidden: the caller is neither officer nor operator nor auditor.
            NotFound: there is none.
        """
        self._audit.require(caller, Action.READ_ACCESS_REVIEWS)
        with self._uow.begin() as tx:
            row = _found(tx, review)
            return ReviewView(row=row, items=tuple(tx.access_reviews.items(review)))

    def decide(
        self, caller: Caller, review: str, decisions: Sequence[tuple[str, bool]]
    ) -> ReviewView:
        """Keep principals or remove them; all of the call or nothing. A removal acts at once.

        Raises:
            Forbidden: the caller is no officer, or decides on himself.
            InvalidInput: none or too many decisions.
            NotFound: there is no such review, or it is not about such a principal.
            Conflict: the review is over, or somebody decided already.
        """
        self._audit.require(caller, Action.REVIEW_ACCESS)
        if not 1 <= len(decisions) <= MAX_ITEMS:
            raise InvalidInput(
                f"1 to {MAX_ITEMS} decisions", code="batch_size", pointer="/decisions"
            )
        with self._uow.begin() as tx:
            row = _found(tx, review)
            if row.completed_at is not None:
                raise Conflict("this review is completed", code="access_review_completed")
            known = {item.principal: item for item in tx.access_reviews.items(review)}
            for place, (principal, keep) in enumerate(decisions):
                self._check(caller, known, principal, f"/decisions/{place}/principal")
                self._decide(tx, caller, review, principal, keep=keep)
            if _complete_if_done(tx, self._audit, caller, review) and row.overdue_at is not None:
                self._alarms.clear_in(tx, OVERDUE, caller)
            done = _found(tx, review)
            return ReviewView(row=done, items=tuple(tx.access_reviews.items(review)))

    @staticmethod
    def _check(caller: Caller, known: dict[str, ReviewItem], principal: str, pointer: str) -> None:
        if principal == caller.principal.id:
            raise Forbidden("nobody reviews his own access", code="own_access", pointer=pointer)
        if principal not in known:
            raise NotFound(
                "the review is not about such a principal",
                code="principal_not_found",
                pointer=pointer,
            )

    def _decide(
        self, tx: Transaction, caller: Caller, review: str, principal: str, *, keep: bool
    ) -> None:
        decision = "keep" if keep else "remove"
        if not tx.access_reviews.decide(review, principal, decision, caller.principal.id):
            raise Conflict("somebody decided on this already", code="access_already_decided")
        if keep:
            tx.access_reviews.renew(principal)
            return
        tx.principals.set_state(principal, PrincipalState.DISABLED)
        tx.outbox.append(
            self._audit.entries(
                Event.PRINCIPAL_DISABLED, caller, at=tx.clock.now(), principal=principal
            )
        )


class ReviewDuty:
    """The worker's duty: opens reviews, closes them, and raises the alarm."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit, alarms: Alarms, holder: str) -> None:
        self._uow = uow
        self._audit = audit
        self._alarms = alarms
        self._holder = holder

    def run(self, _stop: threading.Event) -> None:
        """One round.

        Raises:
            Unavailable: the database is; nothing was done.
        """
        with self._uow.begin() as tx:
            if not tx.leases.hold(LEASE, self._holder):
                return
            row = tx.access_reviews.live()
            if row is not None and _complete_if_done(tx, self._audit, ACTOR, row.id):
                if row.overdue_at is not None:
                    self._alarms.clear_in(tx, OVERDUE, ACTOR)
                row = None
            if row is None:
                self._open(tx)
            elif row.due <= row.now:
                self._overdue(tx, row)

    def _open(self, tx: Transaction) -> None:
        due = tx.access_reviews.next_due()
        if due is None or due > tx.clock.now() + AHEAD:
            return
        opened = tx.access_reviews.open(names.new_review_id())
        if opened is not None:
            tx.outbox.append(
                self._audit.entries(
                    Event.ACCESS_REVIEW_OPENED,
                    ACTOR,
                    at=opened.now,
                    details={"review": opened.id, "due": opened.due.isoformat()},
                )
            )

    def _overdue(self, tx: Transaction, row: ReviewRow) -> None:
        late = [
            item
            for item in tx.access_reviews.items(row.id)
            if item.open and item.review_due <= row.now
        ]
        if not late:
            return
        self._alarms.raise_in(tx, OVERDUE, ACTOR, quiet=QUIET, observed=len(late))
        if row.overdue_at is not None:
            return
        tx.access_reviews.overdue(row.id)
        for item in late:
            tx.outbox.append(
                self._audit.entries(
                    Event.ACCESS_REVIEW_OVERDUE,
                    ACTOR,
                    at=row.now,
                    principal=item.principal,
                    details={"review": row.id, "due": item.review_due.isoformat()},
                )
            )


def _complete_if_done(tx: Transaction, audit: Audit, by: Caller | str, review: str) -> bool:
    items = tx.access_reviews.items(review)
    if any(item.open for item in items):
        return False
    tx.access_reviews.complete(review)
    kept = sum(item.decision == "keep" for item in items)
    tx.outbox.append(
        audit.entries(
            Event.ACCESS_REVIEW_COMPLETED,
            by,
            at=tx.clock.now(),
            details={"review": review, "kept": kept, "removed": len(items) - kept},
        )
    )
    return True


def _found(tx: Transaction, review: str) -> ReviewRow:
    try:
        names.check_review_id(review)
        row = tx.access_reviews.get(review)
    except InvalidInput:
        row = None
    if row is None:
        raise NotFound("there is no such access review", code="access_review_not_found")
    return row
