"""Requests as they are shown: what is sealed of them opened, for whoever may read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from vault_service.domain.instruments import Instrument
from vault_service.services.disclosure_ports import DecisionRow, DisclosureRow
from vault_service.services.disclosures.rows import state_now
from vault_service.services.documents import Documents
from vault_service.services.views import DecisionView, DisclosureView

DETAILS: Final = "disclosure-details"
COMMENT: Final = "disclosure-comment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is sealed of a request: the recipient's name, and the evidence by name."""

    recipient: str = field(repr=False)
    evidence: Mapping[str, str] = field(repr=False)


def open_details(documents: Documents, row: DisclosureRow) -> Details:
    """Open what is sealed of a request.

    Raises:
        VaultUnavailable: Vault gave no answer.
        DocumentUnreadable: it did not open.
    """
    (details,) = documents.open(row.id, [(DETAILS, row.details)])
    return msgspec.convert(details, Details)


def shown(
    documents: Documents,
    row: DisclosureRow,
    decisions: Sequence[DecisionRow],
    details: Details | None,
    instrument: Instrument | None = None,
) -> DisclosureView:
    """A request with the decisions on it, their comments opened.

    Raises:
        VaultUnavailable: Vault gave no answer.
        DocumentUnreadable: a comment did not open.
    """
    sealed = [each.comment for each in decisions if each.comment is not None]
    comments = iter(documents.open(row.id, [(COMMENT, each) for each in sealed]))
    opened = tuple(
        DecisionView(
            kind=each.kind,
            principal=each.principal,
            at=each.at,
            comment=None if each.comment is None else str(next(comments)),
        )
        for each in decisions
    )
    return view(row, details, decisions=opened, instrument=instrument)


def view(
    row: DisclosureRow,
    details: Details | None = None,
    *,
    decisions: tuple[DecisionView, ...] = (),
    instrument: Instrument | None = None,
) -> DisclosureView:
    """A request as its row tells of it, and what was opened of it."""
    return DisclosureView(
        id=row.id,
        state=state_now(row),
        requester=row.requester,
        ground=row.ground,
        category=row.category,
        clause=row.clause,
        policy=row.policy,
        recipient_kind=row.recipient_kind,
        recipient_name=None if details is None else details.recipient,
        recipient=row.recipient,
        recipient_key=row.recipient_key,
        delivery=row.delivery,
        proof_of_possession=row.proof_of_possession,
        evidence=None if details is None else details.evidence,
        tokens=row.tokens,
        customer=row.customer,
        classes=row.classes,
        fields=row.fields,
        uses=row.uses,
        uses_left=row.uses_left,
        approvals_needed=row.approvals_needed,
        determination_needed=row.determination_needed,
        created_at=row.created_at,
        submitted_at=row.submitted_at,
        activated_at=row.activated_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        decisions=decisions,
        amends=row.amends,
        instrument=instrument,
    )
