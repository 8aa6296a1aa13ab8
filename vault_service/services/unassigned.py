"""Messages of people whom nobody knows: a list of them, oldest first, and whose each one was.

The intake keeps such a message under a customer of its sender's own and opens a change that waits
for a person (`services.intake`). Here a person sees which wait, by what stands on their outside,
and gives each to the customer who wrote it: a change is opened for him, under the same message, as
if he had been known, and the one that waited has come to its end. The message stays where it is,
because it is sealed for the customer under whom it came. Which customer is meant, nobody here can
find out; who applies a change makes sure. What nobody wants is rejected like any other change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from vault_service.domain import modifications as rules
from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.modifications import Source, State, Step
from vault_service.errors import Conflict, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services import changes
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.modification_ports import ModificationRow, NewModification
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.views import (
    ModificationView,
    UnassignedPage,
    UnassignedView,
    stored_view,
)

MAX_PAGE: Final = 100


class UnassignedMessages:
    """The use case. Needs the database role of ingest, and nothing of Vault."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit, honeytokens: Honeytokens) -> None:
        self._uow = uow
        self._audit = audit
        self._honeytokens = honeytokens

    def page(self, caller: Caller, *, cursor: str | None, limit: int) -> UnassignedPage:
        """Messages that wait for a customer, oldest first. The reading is a ledger entry.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_MODIFICATIONS)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} messages", code="limit_invalid", pointer="/limit"
            )
        after = None if cursor is None else _read_cursor(cursor)
        with self._uow.begin() as tx:
            found = tx.modifications.unassigned(after, limit + 1)
            shown = found[:limit]
            if shown:
                names = [message.token for _, message in shown]
                tx.outbox.append(
                    self._audit.entries(Event.TOKENS_READ, caller, at=shown[0][0].now, tokens=names)
                )
        self._honeytokens.look(
            caller,
            {name for row, message in shown for name in (row.customer, message.token)},
        )
        return UnassignedPage(
            items=tuple(
                UnassignedView(
                    modification=row.id,
                    why=row.unassigned or "",
                    received_at=row.created_at,
                    expires_at=row.expires_at,
                    message=stored_view(message),
                )
                for row, message in shown
            ),
            next=_cursor(shown[-1][0]) if len(found) > limit else None,
        )

    def assign(self, caller: Caller, modification: str, customer: str) -> ModificationView:
        """Open the change of the customer who wrote, and end the one that waited; the new one.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such change, or no such customer.
            Conflict: its sender was known, it has a value, or it has come to its end.
            InvalidInput: it is the customer under whom it waits.
        """
        self._audit.require(caller, Action.DECIDE_MODIFICATION)
        bucket = _bucket(customer)
        with self._uow.begin() as tx:
            row = changes.locked(tx, modification)
            if row.unassigned is None:
                raise Conflict("this change has its customer", code="modification_has_customer")
            rules.advance(changes.state_now(row), Step.ASSIGN)
            if row.customer == customer:
                raise InvalidInput(
                    "it waits under this customer", code="customer_unchanged", pointer="/customer"
                )
            opened, created = self._opened(tx, caller, row, (bucket, customer))
            tx.modifications.end(row.bucket, row.id, State.SUPERSEDED, by=caller.principal.id)
            tx.outbox.append(
                changes.told(
                    self._audit,
                    Event.MODIFICATION_ASSIGNED,
                    caller,
                    row,
                    more={"other": customer, "successor": opened.id},
                )
            )
            if created:
                tx.outbox.append(
                    changes.told(self._audit, Event.MODIFICATION_OPENED, caller, opened)
                )
            view = changes.view(opened, {}, created=created)
        self._honeytokens.look(caller, (customer,))
        return view

    @staticmethod
    def _opened(
        tx: Transaction, caller: Caller, row: ModificationRow, to: tuple[int, str]
    ) -> tuple[ModificationRow, bool]:
        """The customer's change under this message, and whether it is new.

        Raises:
            NotFound: there is no such customer.
        """
        bucket, customer = to
        asked = NewModification(
            bucket=bucket,
            id=tokens.new_modification_id(bucket),
            customer=customer,
            source=Source.MAIL,
            ticket=row.ticket,
            opened_by=caller.principal.id,
            life=rules.LIFE,
            value=None,
        )
        new = tx.modifications.insert([asked])
        stored = tx.modifications.equal([asked]).get(asked.id)
        if stored is None:
            raise _customer_not_found()
        return stored, asked.id in new


def _bucket(customer: str) -> int:
    try:
        tokens.check_customer_id(customer)
    except InvalidInput as exc:
        raise _customer_not_found() from exc
    return tokens.bucket_of(customer)


def _customer_not_found() -> NotFound:
    return NotFound("there is no such customer", code="customer_not_found", pointer="/customer")


def _cursor(row: ModificationRow) -> str:
    return f"{row.expires_at.isoformat()}~{row.id}"


def _read_cursor(text: str) -> tuple[datetime, str]:
    at, _, name = text.partition("~")
    try:
        moment = datetime.fromisoformat(at)
        tokens.bucket_from_modification_id(name)
    except (ValueError, InvalidInput) as exc:
        raise _no_cursor() from exc
    if moment.tzinfo is None:
        raise _no_cursor()
    return moment, name


def _no_cursor() -> InvalidInput:
    return InvalidInput("this is not a cursor", code="cursor_invalid", pointer="/cursor")
