"""Writes the ledger's entries for the use cases: one way to say who, what, when, outcome, where.

An entry is made in the unit of work that does the thing, from the database's clock. This module
makes rows for the outbox; only refusals, which belong to no other work, get a transaction of
their own, one for all callers who are served together.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from uuid_utils import uuid7

from vault_service.domain import tokens as names
from vault_service.domain.actors import Action, require
from vault_service.errors import Forbidden
from vault_service.ledger.entries import (
    Actor,
    ActorKind,
    Entry,
    Event,
    Origin,
    Outcome,
    encode,
    split,
)
from vault_service.services.context import Caller, Stranger
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import UnitOfWork


def new_entry_id() -> str:
    """A fresh entry id: UUID version 7, so that ids follow time."""
    return str(uuid7())


class Audit:
    """Makes entries for one process role.

    Args:
        process_role: where the event is served: ingest, reveal, console, worker, all, cli.
        uow: opens the transactions of refusals.
    """

    def __init__(self, *, process_role: str, uow: UnitOfWork) -> None:
        self._role = process_role
        self._uow = uow

    def entries(
        self,
        event: Event,
        caller: Caller | Stranger | str,
        *,
        at: datetime,
        outcome: Outcome = Outcome.SUCCESS,
        entry_id: str | None = None,
        tokens: Sequence[str] = (),
        customer: str | None = None,
        principal: str | None = None,
        key: str | None = None,
        grant: DisclosureRow | None = None,
        policy: str | None = None,
        reason: str | None = None,
        count: int | None = None,
        commitments: Mapping[str, str] | None = None,
        details: Mapping[str, str | int] | None = None,
    ) -> list[OutboxEntry]:
        """One event as rows for the outbox; several where its tokens do not fit into one entry.

        Args:
            event: what happened.
            caller: who did it; a plain text names a part of the service itself.
            at: the database's time.
            outcome: how it ended.
            entry_id: the first row's id, if it was given out already.
            tokens: which records.
            customer: whose data.
            principal: whom it happened to.
            key: which API key or Vault key.
            grant: the disclosure that allows it or that it is about.
            policy: version of the policy, where no grant tells it.
            reason: code of a refusal.
            count: how many values, if not the number of tokens.
            commitments: salted commitments.
            details: what else the event's shape allows.
        """
        entry = Entry(
            id=entry_id or new_entry_id(),
            at=at,
            event=event,
            outcome=outcome,
            actor=_actor(caller),
            origin=Origin(
                role=self._role, address="local" if isinstance(caller, str) else caller.address
            ),
            request=None if isinstance(caller, str) else caller.request_id,
            customer=customer,
            principal=principal,
            key=key,
            grant=grant.id if grant else None,
            ground=grant.ground if grant else None,
            clause=grant.clause if grant else None,
            policy=grant.policy if grant else policy,
            reason=reason,
            count=count,
            commitments=commitments or {},
            details=details or {},
        )
        parts = split(entry, tokens, new_entry_id) if tokens else [entry]
        return [
            OutboxEntry(
                bucket=names.bucket_of(customer or part.id),
                id=uuid.UUID(part.id),
                entry=encode(part),
            )
            for part in parts
        ]

    @contextmanager
    def denials(self) -> Iterator[Denials]:
        """What takes refusals in, and has written them down, all in one, when the block has ended.

        Raises:
            Unavailable: they could not be written; nobody may be told of his.
        """
        denials = Denials(self)
        try:
            yield denials
        finally:
            if denials.made:
                with self._uow.begin() as tx:
                    at = tx.clock.now()
                    tx.outbox.append([row for make in denials.made for row in make(at=at)])

    def require(self, caller: Caller, action: Action) -> None:
        """Return if the caller may do this; a refusal is an entry of its own.

        Raises:
            Forbidden: no role of the caller allows it.
            Unavailable: the refusal could not be written down.
        """
        with self.denials() as denials:
            denials.require(caller, action)

    def refused(
        self,
        event: Event,
        caller: Caller | Stranger | str,
        *,
        reason: str,
        details: Mapping[str, str | int] | None = None,
        tokens: Sequence[str] = (),
        grant: DisclosureRow | None = None,
        key: str | None = None,
    ) -> None:
        """Write a refusal down in a transaction of its own.

        Raises:
            Unavailable: it could not be written.
        """
        with self.denials() as denials:
            denials.refused(
                event,
                caller,
                reason=reason,
                details=details,
                tokens=tokens,
                grant=grant,
                key=key,
            )


class Denials:
    """Refusals that are still to be written down, in the order in which they came.

    Attributes:
        made: what makes the rows of each, by the database's time.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self.made: list[Callable[..., list[OutboxEntry]]] = []

    def require(self, caller: Caller, action: Action) -> None:
        """Return if the caller may do this; a refusal is taken in.

        Raises:
            Forbidden: no role of the caller allows it.
        """
        try:
            require(caller.principal, action)
        except Forbidden as refusal:
            self.refused(
                Event.ACCESS_DENIED, caller, reason=refusal.code, details={"action": action.value}
            )
            raise

    def refused(self, event: Event, caller: Caller | Stranger | str, **more: Any) -> None:
        """Take a refusal in; `more` is what `Audit.entries` takes."""
        self.made.append(
            partial(self._audit.entries, event, caller, outcome=Outcome.REFUSED, **more)
        )


def _actor(caller: Caller | Stranger | str) -> Actor:
    if isinstance(caller, Caller):
        return Actor(kind=ActorKind.PRINCIPAL, id=caller.principal.id, key=caller.key_id)
    if isinstance(caller, Stranger):
        return Actor(kind=ActorKind.UNKNOWN, id="unknown")
    return Actor(kind=ActorKind.SYSTEM, id=caller)
