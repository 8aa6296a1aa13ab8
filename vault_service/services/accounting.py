"""What was disclosed of a customer: to which kind of recipient, on which ground, when.

It is told from what reveals wrote down in the transaction that spent their uses, and shows masks,
never a value. What the ground's notice rule still forbids to tell is left out before a page is
cut, so that neither the number of items nor a cursor speaks of it; an answer to somebody who may
not know of it also leaves at fixed steps of time. An officer, who may read every request anyway,
sees it marked: whoever answers a customer must know of what he may not speak.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from vault_service.domain import tokens
from vault_service.domain.actors import Action, Role
from vault_service.domain.classes import RULES, DataClass
from vault_service.errors import InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.accounting_ports import RevealRow
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.record_ports import MaskedRecord

MAX_PAGE: Final = 100
# Seconds between the moments at which an answer may leave. A page takes some 5 ms, and 80 to 120
# with 10,000 withheld rows to pass over (measured on two busy cores): all leave at the first one.
STEP: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosedValue:
    """One value that was told; the mask is None where the record is no longer there."""

    token: str
    data_class: str
    fields: tuple[str, ...]
    mask: dict[str, object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """One reveal, as far as it is about one customer.

    Attributes:
        withheld: whether the customer may not be told of it yet.
        told_after: when that ends, if a time is set; without one, it ends with the grant.
    """

    entry: str
    at: datetime
    disclosure: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    values: tuple[DisclosedValue, ...]
    withheld: bool
    told_after: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosedPage:
    """Reveals, newest first, and the cursor of the next page, if there is one."""

    items: tuple[Disclosed, ...]
    next: str | None


class Accounting:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit, honeytokens: Honeytokens) -> None:
        self._uow = uow
        self._audit = audit
        self._honeytokens = honeytokens

    def page(
        self, caller: Caller, customer: str, *, cursor: str | None, limit: int
    ) -> DisclosedPage:
        """What was disclosed of a customer, newest first. The reading is a ledger entry.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the cursor or the limit is wrong.
            NotFound: there is no such customer; a malformed id answers alike.
        """
        self._audit.require(caller, Action.READ_CUSTOMER_DISCLOSURES)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} reveals", code="limit_invalid", pointer="/limit"
            )
        before = None if cursor is None else _entry(cursor)
        bucket = bucket_of(customer)
        sees_all = Role.OFFICER in caller.principal.roles
        with at_steps(active=not sees_all), self._uow.begin() as tx:
            rows = tx.accounts.page(
                bucket, customer, before=before, withheld=sees_all, limit=limit + 1
            )
            if not rows:
                require_customer(tx, bucket, customer)
            shown = rows[:limit]
            masks = tx.records.masked([(bucket, token) for row in shown for token in row.tokens])
            tx.outbox.append(
                self._audit.entries(
                    Event.CUSTOMER_DISCLOSURES_READ,
                    caller,
                    at=tx.clock.now(),
                    customer=customer,
                    count=len(shown),
                )
            )
        self._honeytokens.look(caller, (customer,))
        return DisclosedPage(
            items=tuple(_disclosed(row, masks) for row in shown),
            next=str(shown[-1].entry) if len(rows) > limit else None,
        )


def bucket_of(customer: str) -> int:
    """The bucket of a customer.

    Raises:
        NotFound: this is no customer's id.
    """
    try:
        tokens.check_customer_id(customer)
    except InvalidInput as exc:
        raise NotFound("there is no such customer", code="customer_not_found") from exc
    return tokens.bucket_of(customer)


def require_customer(tx: Transaction, bucket: int, customer: str) -> None:
    """Return if there is such a customer.

    Raises:
        NotFound: there is none.
    """
    if customer not in tx.customers.get([(bucket, customer)]):
        raise NotFound("there is no such customer", code="customer_not_found")


@contextmanager
def at_steps(*, active: bool) -> Iterator[None]:
    """Have the block end, however it ends, at a whole number of steps after it began."""
    began = time.monotonic()
    try:
        yield
    finally:
        if active:
            time.sleep(STEP - (time.monotonic() - began) % STEP)


def _entry(cursor: str) -> UUID:
    try:
        found = UUID(cursor)
    except ValueError:
        found = None
    if found is None or str(found) != cursor:
        raise InvalidInput("this is not a cursor", code="cursor_invalid", pointer="/cursor")
    return found


def _disclosed(row: RevealRow, masks: dict[str, MaskedRecord]) -> Disclosed:
    return Disclosed(
        entry=str(row.entry),
        at=row.at,
        disclosure=row.disclosure,
        ground=row.ground,
        category=row.category,
        clause=row.clause,
        policy=row.policy,
        recipient_kind=row.recipient_kind,
        values=tuple(
            DisclosedValue(
                token=token,
                data_class=data_class,
                fields=fields_told(data_class, row.fields),
                mask=dict(masks[token].mask) if token in masks else None,
            )
            for token, data_class in zip(row.tokens, row.classes, strict=True)
        ),
        withheld=not row.told,
        told_after=None if row.told else row.notice_after,
    )


def fields_told(data_class: str, fields: Sequence[str] | None) -> tuple[str, ...]:
    """Which of a class's fields a reveal told, in the class's order."""
    known = RULES[DataClass(data_class)].fields if data_class in RULES else ()
    return tuple(name for name in known if fields is None or name in fields)
