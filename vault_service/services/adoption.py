"""Binds the records of before bindings to the ledger, as they are found, once.

What was substituted before is bound like the rest: nothing can tell any more. So the ledger says
that these were adopted and not made, `binding_check` reports whatever is adopted once an adoption
has come to its end, and a record that was bound when it was made can never be adopted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

from vault_service.ledger.entries import Event
from vault_service.services import bindings
from vault_service.services.audit import Audit, new_entry_id
from vault_service.services.ports import UnitOfWork

ACTOR: Final = "adoption"
BATCH: Final = 200


class Adoption:
    """The use case. Needs the worker's database role.

    Args:
        uow: the worker's units of work.
        audit: makes the entries.
    """

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def run(self, *, progress: Callable[[int], None] = lambda _: None) -> int:
        """Bind every record that has no binding; how many there were.

        May be repeated after it died. Where there is nothing to bind, nothing is told.

        Raises:
            Unavailable: the database is; batches before stay bound.
        """
        done = 0
        after: tuple[int, str] | None = None
        while True:
            count, after = self._batch(after)
            done += count
            progress(done)
            if count < BATCH:
                break
        if done:
            self._end()
        return done

    def _batch(self, after: tuple[int, str] | None) -> tuple[int, tuple[int, str] | None]:
        with self._uow.begin() as tx:
            taken = tx.bindings.take_unbound(after, BATCH)
            if not taken:
                return 0, after
            entry = new_entry_id()
            commitments, made = bindings.bind(UUID(entry), [bindings.leaf_of(row) for row in taken])
            tx.bindings.put(
                [replace(row, binding=binding) for row, binding in zip(taken, made, strict=True)]
            )
            tx.outbox.append(
                self._audit.entries(
                    Event.VAULT_KEY_ADOPTED,
                    ACTOR,
                    at=tx.clock.now(),
                    entry_id=entry,
                    commitments=commitments,
                    count=len(taken),
                )
            )
        return len(taken), (taken[-1].bucket, taken[-1].token)

    def _end(self) -> None:
        with self._uow.begin() as tx:
            tx.outbox.append(
                self._audit.entries(
                    Event.VAULT_KEY_ADOPTED,
                    ACTOR,
                    at=tx.clock.now(),
                    count=0,
                    details={"remaining": 0},
                )
            )
