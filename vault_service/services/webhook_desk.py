"""What an operator sees and does of webhooks: deliveries, another try, a message to test with."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from vault_service.domain.actors import Action
from vault_service.errors import InvalidInput, NotFound
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import UnitOfWork
from vault_service.services.webhook_ports import DeliveryRow, DeliveryState
from vault_service.services.webhooks import enqueue, message_id, parse_message_id

MAX_PAGE: Final = 100
TEST: Final = "webhook.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPage:
    """Deliveries, newest message first; all of a message stand on one page."""

    items: tuple[DeliveryRow, ...]
    next: str | None


class WebhookDesk:
    """The use case. Needs the console's database role, which cannot read what messages say."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def page(
        self, caller: Caller, *, state: str | None, cursor: str | None, limit: int
    ) -> DeliveryPage:
        """Deliveries, in one state or all, before a message.

        Raises:
            Forbidden: the caller is no operator.
            InvalidInput: the state, the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.MANAGE_WEBHOOKS)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"1 to {MAX_PAGE} on a page", code="limit_invalid", pointer="/limit")
        if state is not None and state not in set(DeliveryState):
            raise InvalidInput(
                "there is no such state", code="webhook_state_unknown", pointer="/state"
            )
        before = None if cursor is None else _named(cursor, pointer="/cursor")
        with self._uow.begin(read_only=True) as tx:
            rows = tx.webhooks.page(state=state, before=before, limit=limit)
        return DeliveryPage(
            items=tuple(rows), next=message_id(rows[-1].id) if len(rows) >= limit else None
        )

    def retry(self, caller: Caller, message: str) -> int:
        """Have the dead deliveries of a message tried anew; how many there were.

        Raises:
            Forbidden: the caller is no operator.
            InvalidInput: this names no message.
            NotFound: no delivery of such a message is dead.
        """
        self._audit.require(caller, Action.MANAGE_WEBHOOKS)
        named = _named(message)
        with self._uow.begin() as tx:
            revived = tx.webhooks.revive(named)
        if not revived:
            raise NotFound(
                "no delivery of such a message is dead", code="webhook_message_not_found"
            )
        return revived

    def test(self, caller: Caller) -> str:
        """Send a message to every endpoint that takes all; its id.

        Raises:
            Forbidden: the caller is no operator.
        """
        self._audit.require(caller, Action.MANAGE_WEBHOOKS)
        with self._uow.begin() as tx:
            return enqueue(tx, TEST, {"principal": caller.principal.id}, at=tx.clock.now())

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """How many deliveries are in each state, and how often each alarm was raised, ever.

        For monitoring, so without a caller; in all processes together, workers included.

        Raises:
            Unavailable: the database is.
        """
        with self._uow.begin(read_only=True) as tx:
            found = tx.webhooks.counts()
            return {state.value: found.get(state, 0) for state in DeliveryState}, tx.alarms.counts()


def _named(text: str, *, pointer: str | None = None) -> uuid.UUID:
    found = parse_message_id(text)
    if found is None:
        raise InvalidInput(
            "this is not the id of a message", code="webhook_message_malformed", pointer=pointer
        )
    return found
