"""What the ledger is told of requests and grants."""

from __future__ import annotations

from collections.abc import Mapping

from vault_service.domain.instruments import Instrument
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.token_claims import PACKAGE


def told(
    audit: Audit,
    event: Event,
    caller: Caller,
    row: DisclosureRow,
    *,
    commitments: Mapping[str, str] | None = None,
    details: Mapping[str, str | int] | None = None,
) -> list[OutboxEntry]:
    """The entry of one step, at the time at which its row was read."""
    return audit.entries(
        event,
        caller,
        at=row.now,
        grant=row,
        customer=row.customer,
        commitments=commitments,
        details=details,
    )


def told_request(row: DisclosureRow) -> dict[str, str | int]:
    """What an entry tells of what is asked for."""
    return {
        "category": row.category,
        "recipient": row.recipient_kind,
        "uses": row.uses,
        **({} if row.amends is None else {"amends": row.amends}),
        **told_bound(row),
    }


def told_bound(row: DisclosureRow) -> dict[str, str]:
    """What an entry tells of the recipient on record, his key, a package, and a proof demanded."""
    told = {
        "recipient_id": row.recipient,
        "recipient_key": row.recipient_key,
        "delivery": row.delivery if row.delivery == PACKAGE else None,
        "proof": "dpop" if row.proof_of_possession else None,
    }
    return {name: value for name, value in told.items() if value is not None}


def told_determination(*, valid: bool, instrument: Instrument | None) -> dict[str, str | int]:
    """What an entry tells of a finding: of the instrument, from when until when it binds."""
    said = instrument or Instrument()
    days = {"begins": said.begins, "ends": said.ends}
    return {
        "valid": "yes" if valid else "no",
        **{name: day.isoformat() for name, day in days.items() if day is not None},
    }
