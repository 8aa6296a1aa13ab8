"""Erasure: destroys what is sealed, and keeps the token's name so that it is never given again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.errors import InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import UnitOfWork

MAX_ITEMS: Final = 1000


class Erasure:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def erase(self, caller: Caller, names: Sequence[str]) -> list[ServiceError | None]:
        """Erase records; one result for each token, None where it was done.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: too many tokens at once.
            Unavailable: the database is; nothing was erased.
        """
        self._audit.require(caller, Action.ERASE)
        if not 1 <= len(names) <= MAX_ITEMS:
            raise InvalidInput(f"1 to {MAX_ITEMS} tokens at once", code="batch_size")
        places: dict[str, int] = {}
        for name in names:
            try:
                places[name] = tokens.bucket_from_token(name)
            except InvalidInput:
                continue  # answered below like any token that is not there
        with self._uow.begin() as tx:
            erased = tx.records.erase([(bucket, name) for name, bucket in places.items()])
            now = tx.clock.now()
            by_customer: dict[str, list[str]] = defaultdict(list)
            for token, (customer, _) in erased.items():
                by_customer[customer].append(token)
            for customer, gone in by_customer.items():
                tx.outbox.append(
                    self._audit.entries(
                        Event.TOKENS_ERASED, caller, at=now, customer=customer, tokens=gone
                    )
                )
        return [
            None if name in erased else NotFound("there is no such token", code="token_not_found")
            for name in names
        ]
