"""A customer's change as it is stored: found, locked, shown, and told of.

What the steps of `services.modifications` and `services.unassigned` share; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from vault_service.domain import modifications as rules
from vault_service.domain import tokens
from vault_service.domain.modifications import State
from vault_service.errors import InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.modification_ports import ModificationRow
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import Transaction
from vault_service.services.record_ports import MaskedRecord
from vault_service.services.views import ModificationView


def named(modification: str) -> tuple[int, str]:
    """(bucket, id) of a change.

    Raises:
        NotFound: no change can have this name.
    """
    try:
        return tokens.bucket_from_modification_id(modification), modification
    except InvalidInput as exc:
        raise not_found() from exc


def not_found() -> NotFound:
    """What is said of a change that is not there."""
    return NotFound("there is no such modification", code="modification_not_found")


def locked(tx: Transaction, modification: str) -> ModificationRow:
    """A change, locked for the rest of the unit of work.

    Raises:
        NotFound: there is no such change.
    """
    row = tx.modifications.get(*named(modification), lock=True)
    if row is None:
        raise not_found()
    return row


def state_now(row: ModificationRow) -> State:
    """The state as it counts now: what is past its time is expired, whatever the row says yet."""
    state = State(row.state)
    if state in rules.PENDING and row.expires_at <= row.now:
        return State.EXPIRED
    return state


def current(tx: Transaction, rows: Sequence[ModificationRow]) -> dict[str, MaskedRecord]:
    """The records that the changes are about, as they are now."""
    names = sorted({(row.bucket, row.token) for row in rows if row.token is not None})
    return tx.records.masked(names)


def view(
    row: ModificationRow, records: dict[str, MaskedRecord], *, created: bool = False
) -> ModificationView:
    """A change as it is shown, beside the records as they are now."""
    record = records.get(row.token or "")
    return ModificationView(
        id=row.id,
        state=state_now(row),
        customer=row.customer,
        token=row.token,
        data_class=row.data_class,
        version=row.record_version,
        present=None if record is None else record.mask,
        proposed=row.mask,
        source=row.source,
        ticket=row.ticket,
        unassigned=row.unassigned,
        second_person=row.data_class is not None and rules.needs_second_person(row.data_class),
        opened_by=row.opened_by,
        proposed_by=row.proposed_by,
        confirmed_by=row.confirmed_by,
        confirmed_how=row.confirmed_how,
        ended_by=row.ended_by,
        reason=row.reason,
        created_at=row.created_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        created=created,
    )


def told(
    audit: Audit,
    event: Event,
    caller: Caller | str,
    row: ModificationRow,
    *,
    more: dict[str, str | int] | None = None,
    changed: Sequence[str] = (),
    entry_id: str | None = None,
    commitments: dict[str, str] | None = None,
) -> list[OutboxEntry]:
    """The entry of a step."""
    details: dict[str, str | int] = {"modification": row.id, "source": row.source}
    if row.data_class is not None:
        details["class"] = row.data_class
    return audit.entries(
        event,
        caller,
        at=row.now,
        customer=row.customer,
        tokens=changed or ([] if row.token is None else [row.token]),
        details=details | (more or {}),
        entry_id=entry_id,
        commitments=commitments,
    )
