"""Rotations as people see them: asked for by operators, read by operators and auditors.

Asking writes a row; the worker does the rest (`rotation_work`), so that nobody waits for it and
the process that is asked needs no right to rotate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keys.fingerprint import KEY_PREFIX
from vault_service.domain import tokens as names
from vault_service.domain.actors import Action
from vault_service.errors import InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.rotation_ports import Reason, RotationRow, RotationState

MAX_PAGE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationView:
    """A rotation as it is shown.

    Attributes:
        row: as stored.
        remaining: keys still to be rewrapped.
        rate: keys rewrapped in a second; None before it began.
        seconds_left: at that rate; None where nothing can be said.
    """

    row: RotationRow
    remaining: int
    rate: float | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPage:
    """Rotations, newest first, and the next cursor."""

    items: tuple[RotationView, ...]
    next: str | None


def ask(
    tx: Transaction, audit: Audit, by: Caller | str, key: str, reason: Reason
) -> tuple[RotationRow, bool]:
    """Ask for a rotation within a unit of work; the key's live one, and whether it is new.

    A rotation that came to a halt is set going again.
    """
    who = by.principal.id if isinstance(by, Caller) else by
    offered = names.new_rotation_id()
    row = tx.rotations.insert(offered, key, reason, who)
    is_new = row.id == offered
    again = tx.rotations.move(row.id, RotationState.FAILED, RotationState.RUNNING)
    if not is_new and again is None:
        return row, False
    row = again or row
    tx.outbox.append(
        audit.entries(
            Event.ROTATION_STARTED,
            by,
            at=tx.clock.now(),
            key=key,
            details={"rotation": row.id, "reason": reason.value},
        )
    )
    return row, is_new


class Rotations:
    """The use case.

    Args:
        uow: a database role that may ask for rotations.
        keys: those that can be rotated.
        audit: decides and makes the entries.
    """

    def __init__(self, *, uow: UnitOfWork, keys: frozenset[str], audit: Audit) -> None:
        self._uow = uow
        self._keys = keys
        self._audit = audit

    def start(self, caller: Caller, key: str) -> tuple[RotationView, bool]:
        """Ask for a key's rotation; its live one, and whether this call made it.

        Raises:
            Forbidden: the caller is no operator.
            NotFound: there is no such key.
            Unavailable: the database is; repeat, nothing is begun twice.
        """
        self._audit.require(caller, Action.ROTATE_KEYS)
        if key not in self._keys:
            raise NotFound(
                "there is no such key to rotate",
                code="vault_key_not_found",
                hint="a fingerprint key is rotated by `vault-service keys reindex`"
                if key.startswith(KEY_PREFIX)
                else None,
            )
        row, is_new = self._uow.run(lambda tx: ask(tx, self._audit, caller, key, Reason.ASKED))
        return shown(row), is_new

    def page(self, caller: Caller, *, cursor: str | None, limit: int) -> RotationPage:
        """Rotations, newest first.

        Raises:
            Forbidden: the caller is neither operator nor auditor.
            InvalidInput: the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_ROTATIONS)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"1 to {MAX_PAGE} on a page", code="limit_invalid", pointer="/limit")
        if cursor is not None:
            names.check_rotation_id(cursor, pointer="/cursor")
        with self._uow.begin(read_only=True) as tx:
            rows = tx.rotations.page(cursor, limit + 1)
        return RotationPage(
            items=tuple(shown(row) for row in rows[:limit]),
            next=rows[limit - 1].id if len(rows) > limit else None,
        )

    def get(self, caller: Caller, rotation: str) -> RotationView:
        """One rotation.

        Raises:
            Forbidden: the caller is neither operator nor auditor.
            InvalidInput: this names no rotation.
            NotFound: there is no such rotation.
        """
        self._audit.require(caller, Action.READ_ROTATIONS)
        names.check_rotation_id(rotation)
        with self._uow.begin(read_only=True) as tx:
            row = tx.rotations.get(rotation)
        if row is None:
            raise NotFound("there is no such rotation", code="rotation_not_found")
        return shown(row)


def shown(row: RotationRow) -> RotationView:
    """A rotation with its progress."""
    remaining = max(0, row.total - row.rewrapped) if row.state is RotationState.RUNNING else 0
    if row.state is RotationState.FAILED:
        remaining = row.failed
    rate = left = None
    if row.started_at is not None:
        spent = _until(row) - row.started_at
        rate = row.rewrapped / max(spent / timedelta(seconds=1), 0.001)
        if row.state is RotationState.RUNNING and rate:
            left = remaining / rate
    return RotationView(row=row, remaining=remaining, rate=rate, seconds_left=left)


def _until(row: RotationRow) -> datetime:
    """When rewrapping ended, or now."""
    return row.clear_at or row.finished_at or row.now
