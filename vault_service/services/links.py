"""Links customers who were found to be one: shown together; nothing moves; it can be undone."""

from __future__ import annotations

from typing import Final

from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.errors import Conflict, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import Transaction, UnitOfWork

# More than this are no one customer, and would make one page of many people's data.
MAX_FAMILY: Final = 20


class CustomerLinks:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def link(self, caller: Caller, customer: str, other: str) -> bool:
        """Link two customers; False when they were linked already.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such customer.
            InvalidInput: both are the same, or too many would be shown together.
        """
        self._audit.require(caller, Action.LINK_CUSTOMERS)
        one, two = _named(customer, other)
        with self._uow.begin() as tx:
            families = [tx.links.family(*each, 1) for each in (one, two)]
            if None in families:
                raise NotFound("there is no such customer", code="customer_not_found")
            together = {name for family in families if family for name in family.customers}
            if len(together) > MAX_FAMILY:
                raise Conflict(
                    f"at most {MAX_FAMILY} customers are shown together", code="too_many_linked"
                )
            linked = tx.links.put(one, two, by=caller.principal.id)
            if linked:
                tx.outbox.append(self._told(tx, Event.CUSTOMER_LINKED, caller, customer, other))
        return linked

    def unlink(self, caller: Caller, customer: str, other: str) -> None:
        """Undo a link.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such link.
        """
        self._audit.require(caller, Action.LINK_CUSTOMERS)
        one, two = _named(customer, other)
        with self._uow.begin() as tx:
            if not tx.links.remove(one, two):
                raise NotFound("these two are not linked", code="link_not_found")
            tx.outbox.append(self._told(tx, Event.CUSTOMER_UNLINKED, caller, customer, other))

    def _told(
        self, tx: Transaction, event: Event, caller: Caller, customer: str, other: str
    ) -> list[OutboxEntry]:
        """An entry for each of the two, so that either is found by its name."""
        return [
            entry
            for one, two in ((customer, other), (other, customer))
            for entry in self._audit.entries(
                event, caller, at=tx.clock.now(), customer=one, details={"other": two}
            )
        ]


def _named(customer: str, other: str) -> tuple[tuple[int, str], tuple[int, str]]:
    """(bucket, id) of both.

    Raises:
        NotFound: a name that no customer can have.
        InvalidInput: both are the same.
    """
    try:
        for name in (customer, other):
            tokens.check_customer_id(name)
    except InvalidInput as exc:
        raise NotFound("there is no such customer", code="customer_not_found") from exc
    if customer == other:
        raise InvalidInput(
            "a customer is not linked to himself", code="link_to_itself", pointer="/other"
        )
    return (tokens.bucket_of(customer), customer), (tokens.bucket_of(other), other)
