"""The erasure of a customer, as people see it: asked for by one officer, confirmed by another.

What it destroys cannot be brought back, so it takes two. The confirmation decides all of it at
once: from then on the customer is unknown, takes no new record, and cannot be held; or a legal hold
stands, and nothing has happened. The worker then destroys his records (`erasing`), and the
certificate comes at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vault_service.domain import tokens as names
from vault_service.domain.actors import Action
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event, Outcome
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.erasure import HELD
from vault_service.services.erasure_ports import ErasureRow, ErasureState
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import Transaction, UnitOfWork

MAX_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureView:
    """An erasure as it is shown; once it is `done`, the certificate.

    Attributes:
        row: as stored.
        backups_until: when the last backup that may hold his records is gone; None while it is not
            done, and where no backup horizon is set.
    """

    row: ErasureRow
    backups_until: datetime | None


class CustomerErasures:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit, honeytokens: Honeytokens) -> None:
        self._uow = uow
        self._audit = audit
        self._honeytokens = honeytokens

    def request(self, caller: Caller, customer: str) -> tuple[ErasureView, bool]:
        """Ask for a customer's erasure; it and whether this call made it. Nothing is erased yet.

        Raises:
            Forbidden: the caller is no officer.
            NotFound: there is no such customer.
        """
        self._audit.require(caller, Action.ERASE_CUSTOMER)
        bucket = _bucket_of(customer)
        self._honeytokens.look(caller, (customer,))
        with self._uow.begin() as tx:
            row = tx.erasures.get(bucket, customer)
            if row is not None:
                return shown(row), False
            if customer not in tx.customers.get([(bucket, customer)]):
                raise _not_found()
            is_new = tx.erasures.insert(bucket, customer, caller.principal.id)
            if is_new:
                self._tell(tx, Event.CUSTOMER_ERASURE_REQUESTED, caller, customer)
            return shown(_row(tx, bucket, customer)), is_new

    def confirm(self, caller: Caller, customer: str) -> ErasureView:
        """Confirm an erasure that another officer asked for; it begins. Harmless when repeated.

        Raises:
            Forbidden: the caller is no officer, or asked for it himself.
            NotFound: nobody asked for it.
            Conflict: a legal hold stands on the customer or on a record of his.
        """
        self._audit.require(caller, Action.ERASE_CUSTOMER)
        bucket = _bucket_of(customer)
        self._honeytokens.look(caller, (customer,))
        with self._uow.begin() as tx:
            begun = tx.erasures.confirm(bucket, customer, caller.principal.id)
            if begun is not None and tx.erasures.begin(bucket, customer):
                self._tell(tx, Event.CUSTOMER_ERASURE_CONFIRMED, caller, customer)
                return shown(begun)
            if begun is None:
                row = _row(tx, bucket, customer)
                if row.state is ErasureState.REQUESTED:
                    raise Forbidden(
                        "an erasure is confirmed by another officer than asked for it",
                        code="own_erasure",
                    )
                return shown(row)
            tx.rollback()
        with self._uow.begin() as tx:
            self._tell(
                tx, Event.CUSTOMER_ERASURE_CONFIRMED, caller, customer, outcome=Outcome.REFUSED
            )
        raise Conflict("a legal hold forbids the erasure", code=HELD)

    def get(self, caller: Caller, customer: str) -> ErasureView:
        """The erasure of a customer; once done, its certificate.

        Raises:
            Forbidden: the caller is neither officer nor auditor.
            NotFound: nobody asked for one.
        """
        self._audit.require(caller, Action.READ_ERASURES)
        bucket = _bucket_of(customer)
        self._honeytokens.look(caller, (customer,))
        with self._uow.begin(read_only=True) as tx:
            return shown(_row(tx, bucket, customer))

    def page(
        self, caller: Caller, *, cursor: str | None, limit: int
    ) -> tuple[tuple[ErasureView, ...], str | None]:
        """Erasures, and the next cursor.

        Raises:
            Forbidden: the caller is neither officer nor auditor.
            InvalidInput: the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_ERASURES)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} erasures", code="limit_invalid", pointer="/limit"
            )
        after = None
        if cursor is not None:
            names.check_customer_id(cursor, pointer="/cursor")
            after = (names.bucket_of(cursor), cursor)
        with self._uow.begin(read_only=True) as tx:
            rows = tx.erasures.page(after, limit + 1)
        views = tuple(shown(row) for row in rows[:limit])
        return views, views[-1].row.customer if len(rows) > limit else None

    def _tell(
        self,
        tx: Transaction,
        event: Event,
        caller: Caller,
        customer: str,
        *,
        outcome: Outcome = Outcome.SUCCESS,
    ) -> None:
        tx.outbox.append(
            self._audit.entries(
                event,
                caller,
                at=tx.clock.now(),
                outcome=outcome,
                reason=HELD if outcome is Outcome.REFUSED else None,
                customer=customer,
            )
        )


def shown(row: ErasureRow) -> ErasureView:
    """An erasure with the time when backups hold nothing of it any more."""
    until = None
    if row.finished_at is not None and row.backup_horizon_days:
        until = row.finished_at + timedelta(days=row.backup_horizon_days)
    return ErasureView(row=row, backups_until=until)


def _row(tx: Transaction, bucket: int, customer: str) -> ErasureRow:
    row = tx.erasures.get(bucket, customer)
    if row is None:
        raise NotFound("nobody asked for this erasure", code="erasure_not_found")
    return row


def _bucket_of(customer: str) -> int:
    try:
        names.check_customer_id(customer)
    except InvalidInput:
        raise _not_found() from None
    return names.bucket_of(customer)


def _not_found() -> NotFound:
    return NotFound("there is no such customer", code="customer_not_found")
