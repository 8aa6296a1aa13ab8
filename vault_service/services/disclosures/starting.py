"""A request becomes a grant, and ends what it amends."""

from __future__ import annotations

from datetime import timedelta

from vault_service.domain import disclosures as rules
from vault_service.domain.disclosures import Event as Step
from vault_service.domain.disclosures import State
from vault_service.errors import Conflict
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.disclosures.entries import told
from vault_service.services.disclosures.rows import found, state_now
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import Transaction


def start(
    tx: Transaction,
    audit: Audit,
    caller: Caller,
    row: DisclosureRow,
    *,
    approved: State,
    lasts: timedelta | None,
) -> tuple[DisclosureRow, list[OutboxEntry]]:
    """Make a grant of a locked request that has its last approval; the entries that tell of it.

    Raises:
        Conflict: another amendment of the same request has become a grant meanwhile.
    """
    entries = _supersede(tx, audit, caller, row)
    tx.disclosures.set_state(row.bucket, row.id, approved)
    after = rules.advance(approved, Step.START, determination_needed=row.determination_needed)
    row = tx.disclosures.set_state(row.bucket, row.id, after, lasts=lasts)
    entries += told(audit, Event.DISCLOSURE_ACTIVATED, caller, row, details={"uses": row.uses})
    return row, entries


def _supersede(
    tx: Transaction, audit: Audit, caller: Caller, row: DisclosureRow
) -> list[OutboxEntry]:
    """End the request that a request which becomes a grant amends.

    Whoever starts holds the lock of his own row first and takes that of the older request
    then. Amendments lead backwards only, so two of them never wait for each other.

    Raises:
        Conflict: another amendment of it has become a grant meanwhile.
    """
    if row.amends is None:
        return []
    before = found(tx, row.amends, lock=True)
    state = state_now(before)
    if state is State.SUPERSEDED:
        raise Conflict(
            "another amendment of the same request has become a grant",
            code="disclosure_superseded",
        )
    if state in rules.TERMINAL:
        return []
    after = rules.advance(state, Step.SUPERSEDE, determination_needed=before.determination_needed)
    before = tx.disclosures.set_state(before.bucket, before.id, after)
    return told(audit, Event.DISCLOSURE_SUPERSEDED, caller, before, details={"successor": row.id})
