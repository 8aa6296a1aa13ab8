"""Reading requests: one, a page, and what one lacks to become a grant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.domain import disclosures as rules
from vault_service.domain import tokens
from vault_service.domain.actors import Action, Role
from vault_service.domain.disclosures import State
from vault_service.domain.grounds import Policy
from vault_service.domain.policy import Decision, Progress, decide
from vault_service.errors import InvalidInput
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import DecisionRow, DisclosureRow
from vault_service.services.disclosures.drafts import draft_of, request_of
from vault_service.services.disclosures.instruments import instrument_of
from vault_service.services.disclosures.rows import approvers, find, state_now
from vault_service.services.disclosures.views import open_details, shown, view
from vault_service.services.documents import Documents
from vault_service.services.ports import UnitOfWork
from vault_service.services.views import DisclosurePage, DisclosureView

MAX_PAGE: Final = 100


class DisclosureReading:
    """The use case."""

    def __init__(
        self, *, uow: UnitOfWork, documents: Documents, policy: Policy, audit: Audit
    ) -> None:
        self._uow = uow
        self._documents = documents
        self._policy = policy
        self._audit = audit

    def get(self, caller: Caller, disclosure: str) -> DisclosureView:
        """One request with its comments, for its requester and for officers.

        Its evidence is told its requester, and officers while there is something to decide on.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is none, or it is another requester's.
        """
        self._audit.require(caller, Action.READ_DISCLOSURES)
        row = find(self._uow, caller, disclosure)
        own = row.requester == caller.principal.id
        shows = own or state_now(row) in rules.DECIDABLE
        with self._uow.begin() as tx:
            decisions = tx.disclosures.decisions(row.bucket, row.id)
            if shows and not own:
                tx.outbox.append(
                    self._audit.entries(
                        Event.DISCLOSURE_EVIDENCE_READ, caller, at=tx.clock.now(), grant=row
                    )
                )
            instrument = instrument_of(tx, row)
        details = open_details(self._documents, row) if shows else None
        return shown(self._documents, row, decisions, details, instrument)

    def page(
        self, caller: Caller, *, state: str | None, cursor: str | None, limit: int
    ) -> DisclosurePage:
        """Requests without evidence: an officer's page has all, a requester's his own.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the state, cursor or limit is wrong.
        """
        self._audit.require(caller, Action.READ_DISCLOSURES)
        if state is not None and state not in set(State):
            raise InvalidInput("there is no such state", code="state_unknown", pointer="/state")
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} requests", code="limit_invalid", pointer="/limit"
            )
        if cursor is not None:
            tokens.bucket_from_disclosure_id(cursor, pointer="/cursor")
        own = None if Role.OFFICER in caller.principal.roles else caller.principal.id
        with self._uow.begin(read_only=True) as tx:
            rows = tx.disclosures.page(requester=own, state=state, after=cursor, limit=limit + 1)
        items = tuple(view(row) for row in rows[:limit])
        return DisclosurePage(items=items, next=items[-1].id if len(rows) > limit else None)

    def lacking(self, caller: Caller, disclosure: str) -> Decision:
        """What the policy says of a request as it stands: all that it lacks to become a grant.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is none, or it is another requester's.
        """
        self._audit.require(caller, Action.READ_DISCLOSURES)
        row = find(self._uow, caller, disclosure)
        details = open_details(self._documents, row)
        with self._uow.begin(read_only=True) as tx:
            decisions = tx.disclosures.decisions(row.bucket, row.id)
            return decide(
                self._policy,
                request_of(tx, draft_of(row, details), row.requester),
                now=row.now,
                progress=Progress(
                    approvals=len(approvers(decisions)),
                    determined=_determined(row, decisions),
                    instrument=instrument_of(tx, row),
                ),
            )


def _determined(row: DisclosureRow, decisions: Sequence[DecisionRow]) -> bool | None:
    """What was found of the instrument, by what followed: a negative finding ends the request."""
    kinds = {each.kind for each in decisions}
    if "determine" not in kinds:
        return None
    return "annul" not in kinds and (row.state != State.DENIED or "deny" in kinds)
