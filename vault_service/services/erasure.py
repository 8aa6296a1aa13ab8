"""Erasure: destroys what is sealed, and keeps the token's name so that it is never given again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.errors import Conflict, InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event, Outcome
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import UnitOfWork

MAX_ITEMS: Final = 1000
HELD: Final = "legal_hold"


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
            named = [(bucket, name) for name, bucket in places.items()]
            erased = tx.records.erase(named)
            tx.modifications.forget([(places[name], name) for name in erased])
            # Whatever is still there was kept by a hold; that it was tried is told as well.
            held = tx.records.standing([each for each in named if each[1] not in erased])
            now = tx.clock.now()
            gone = {token: customer for token, (customer, _) in erased.items()}
            for which, outcome in ((gone, Outcome.SUCCESS), (held, Outcome.REFUSED)):
                for customer, group in _by_customer(which).items():
                    tx.outbox.append(
                        self._audit.entries(
                            Event.TOKENS_ERASED,
                            caller,
                            at=now,
                            outcome=outcome,
                            reason=HELD if outcome is Outcome.REFUSED else None,
                            customer=customer,
                            tokens=group,
                        )
                    )
        return [None if name in erased else _refusal(held=name in held) for name in names]


def _by_customer(tokens_of: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for token, customer in tokens_of.items():
        found[customer].append(token)
    return found


def _refusal(*, held: bool) -> ServiceError:
    if held:
        return Conflict("a legal hold forbids the erasure", code=HELD)
    return NotFound("there is no such token", code="token_not_found")
