"""Deciding on requests: by officers, and by the requester who takes his own back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from vault_service.domain import disclosures as rules
from vault_service.domain import freetext
from vault_service.domain.actors import Action
from vault_service.domain.disclosures import Event as Step
from vault_service.domain.disclosures import State
from vault_service.domain.grounds import Policy
from vault_service.domain.instruments import Instrument
from vault_service.domain.policy import Progress, Stage, decide
from vault_service.errors import Conflict, InvalidInput
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import Sealed
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.disclosures.drafts import draft_of, refusal, request_of
from vault_service.services.disclosures.entries import told, told_bound, told_determination
from vault_service.services.disclosures.instruments import check_instrument, instrument_of
from vault_service.services.disclosures.rows import (
    approvers,
    check_current,
    find,
    found,
    state_now,
)
from vault_service.services.disclosures.starting import start
from vault_service.services.disclosures.views import COMMENT, Details, open_details, shown, view
from vault_service.services.documents import Documents
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.views import DisclosureView

COMMENT_LENGTH: Final = 2000

_EVENTS: Final = {
    "determine": Event.DISCLOSURE_DETERMINED,
    "approve": Event.DISCLOSURE_APPROVED,
    "deny": Event.DISCLOSURE_DENIED,
    "revoke": Event.DISCLOSURE_REVOKED,
    "withdraw": Event.DISCLOSURE_WITHDRAWN,
    "annul": Event.DISCLOSURE_ANNULLED,
}
# Findings about the instrument are entries of their own, and so is the end that one may bring.
_FINDINGS: Final = frozenset(("determine", "annul"))
_ENDS: Final = {
    State.DENIED: Event.DISCLOSURE_DENIED,
    State.REVOKED: Event.DISCLOSURE_REVOKED,
}


class DisclosureDecisions:
    """The use case."""

    def __init__(
        self, *, uow: UnitOfWork, documents: Documents, policy: Policy, audit: Audit
    ) -> None:
        self._uow = uow
        self._documents = documents
        self._policy = policy
        self._audit = audit

    # ------------------------------------------------------------ findings about an instrument

    def determine(
        self,
        caller: Caller,
        disclosure: str,
        *,
        valid: bool,
        reasons: str,
        instrument: Instrument | None = None,
    ) -> DisclosureView:
        """Record whether an officer finds the instrument valid and enforceable, with reasons.

        What he says of the instrument bounds the grant, whatever the request asks for.

        Raises:
            Forbidden: the caller is no officer, or it is his own request.
            Conflict: no determination is needed, or one was made, or the policy has changed.
            DeterminationIncomplete: he does not say of the instrument what the policy asks for.
        """
        self._audit.require(caller, Action.DETERMINE_DISCLOSURE)
        if valid:
            row = find(self._uow, caller, disclosure)
            rules.check_decider(row.requester, caller.principal.id)
            check_instrument(row, self._policy, instrument)
        instrument = instrument if valid else None
        return self._decide(
            caller,
            disclosure,
            kind="determine",
            step=Step.DETERMINE if valid else Step.DENY,
            comment=_checked(reasons, pointer="/reasons"),
            told_more=told_determination(valid=valid, instrument=instrument),
            instrument=instrument,
        )

    def annul(self, caller: Caller, disclosure: str, *, reasons: str) -> DisclosureView:
        """Record that an instrument found valid is so no longer; the request or grant ends.

        Raises:
            Forbidden: the caller is no officer, or it is his own request.
            Conflict: none was found valid, or the request has come to its end.
        """
        self._audit.require(caller, Action.DETERMINE_DISCLOSURE)
        return self._decide(
            caller,
            disclosure,
            kind="annul",
            step=Step.ANNUL,
            comment=_checked(reasons, pointer="/reasons"),
        )

    # ------------------------------------------------------------ decisions of officers

    def approve(
        self, caller: Caller, disclosure: str, *, comment: str | None = None
    ) -> DisclosureView:
        """Agree to somebody else's request; the last approval needed makes it a grant.

        Raises:
            Forbidden: the caller is no officer, or it is his own request.
            Conflict: he approved before, the state forbids it, or the policy has changed.
            PolicyRefused: what was allowed at submission is no longer.
        """
        self._audit.require(caller, Action.DECIDE_DISCLOSURE)
        return self._decide(
            caller, disclosure, kind="approve", step=Step.APPROVE, comment=_checked(comment)
        )

    def deny(
        self, caller: Caller, disclosure: str, *, comment: str | None = None
    ) -> DisclosureView:
        """Refuse somebody else's request, saying why; one officer is enough.

        Raises:
            Forbidden: the caller is no officer, or it is his own request.
            Conflict: the state forbids it.
            InvalidInput: he does not say why.
        """
        self._audit.require(caller, Action.DECIDE_DISCLOSURE)
        return self._decide(
            caller, disclosure, kind="deny", step=Step.DENY, comment=_checked(comment)
        )

    # ------------------------------------------------------------ ends

    def revoke(
        self, caller: Caller, disclosure: str, *, comment: str | None = None
    ) -> DisclosureView:
        """End a grant; its tokens reveal nothing from the next request on.

        Raises:
            Forbidden: the caller is no officer.
            Conflict: it is not an active grant.
        """
        self._audit.require(caller, Action.REVOKE_DISCLOSURE)
        row = find(self._uow, caller, disclosure)
        return self._end(caller, row, "revoke", Step.REVOKE, _checked(comment))

    def withdraw(
        self, caller: Caller, disclosure: str, *, comment: str | None = None
    ) -> DisclosureView:
        """Take one's own request, or grant, back.

        Raises:
            NotFound: there is no such request of the caller's.
            Conflict: it has come to its end.
        """
        self._audit.require(caller, Action.WITHDRAW_DISCLOSURE)
        row = find(self._uow, caller, disclosure)
        rules.check_requester(row.requester, caller.principal.id)
        return self._end(caller, row, "withdraw", Step.WITHDRAW, _checked(comment))

    # ------------------------------------------------------------ parts

    def _decide(
        self,
        caller: Caller,
        disclosure: str,
        *,
        kind: str,
        step: Step,
        comment: str | None,
        told_more: Mapping[str, str | int] | None = None,
        instrument: Instrument | None = None,
    ) -> DisclosureView:
        """One officer's decision: its row, the state that follows, and the entries of both."""
        before = find(self._uow, caller, disclosure)
        rules.check_decider(before.requester, caller.principal.id)
        details = open_details(self._documents, before)
        sealed = None if comment is None else self._documents.seal(disclosure, COMMENT, comment)
        with self._uow.begin() as tx:
            row = found(tx, disclosure, lock=True)
            lasts: timedelta | None = None
            if step is Step.APPROVE:
                step, lasts = self._approval(tx, caller, row, details)
                told_more = told_bound(row) or None
            after = rules.advance(
                state_now(row), step, determination_needed=row.determination_needed
            )
            if step is Step.DENY and comment is None:
                raise InvalidInput(
                    "say why the request is denied", code="reasons_missing", pointer="/comment"
                )
            if not _decided(tx, caller, row, kind, sealed):
                raise Conflict("you have decided on this request before", code="already_decided")
            if instrument is not None:
                tx.instruments.insert(row.bucket, row.id, instrument)
            entries = told(self._audit, _EVENTS[kind], caller, row, details=told_more)
            if step is Step.APPROVE_LAST:
                row, more = start(tx, self._audit, caller, row, approved=after, lasts=lasts)
                entries += more
            elif after != row.state:
                row = tx.disclosures.set_state(row.bucket, row.id, after)
            if kind in _FINDINGS and after in _ENDS:
                entries += told(self._audit, _ENDS[after], caller, row)
            tx.outbox.append(entries)
            decisions = tx.disclosures.decisions(row.bucket, row.id)
            instrument = instrument_of(tx, row)
        return shown(self._documents, row, decisions, details, instrument)

    def _approval(
        self, tx: Transaction, caller: Caller, row: DisclosureRow, details: Details
    ) -> tuple[Step, timedelta | None]:
        """Whether this approval is the last one, and how long the grant then lasts.

        Raises:
            Conflict: the officer approved before.
            PolicyRefused: the policy, asked once more with all that was decided, says no.
        """
        approved = approvers(tx.disclosures.decisions(row.bucket, row.id))
        rules.check_approver(row.requester, caller.principal.id, approved)
        # Impossible in this state is told before what is missing.
        rules.advance(state_now(row), Step.APPROVE, determination_needed=row.determination_needed)
        check_current(row, self._policy)
        decision = decide(
            self._policy,
            request_of(tx, draft_of(row, details), row.requester),
            now=row.now,
            progress=Progress(
                approvals=len(approved) + 1,
                determined=True if row.state == State.DETERMINED else None,
                instrument=instrument_of(tx, row),
            ),
        )
        if decision.missing_at(Stage.REQUEST) or decision.missing_at(Stage.DETERMINATION):
            raise refusal(decision)
        if not rules.last_approval(approved, row.approvals_needed):
            return Step.APPROVE, None
        if not decision.allowed:
            raise refusal(decision)
        return Step.APPROVE_LAST, decision.duration

    def _end(
        self, caller: Caller, row: DisclosureRow, kind: str, step: Step, comment: str | None
    ) -> DisclosureView:
        # Without a comment this asks Vault for nothing: a grant can be ended while Vault is away.
        sealed = None if comment is None else self._documents.seal(row.id, COMMENT, comment)
        with self._uow.begin() as tx:
            row = found(tx, row.id, lock=True)
            after = rules.advance(
                state_now(row), step, determination_needed=row.determination_needed
            )
            _decided(tx, caller, row, kind, sealed)
            row = tx.disclosures.set_state(row.bucket, row.id, after)
            tx.outbox.append(told(self._audit, _EVENTS[kind], caller, row))
        return view(row)


def _decided(
    tx: Transaction, caller: Caller, row: DisclosureRow, kind: str, comment: Sealed | None
) -> bool:
    """Write a decision; False where the caller had decided so before."""
    return tx.disclosures.decide(
        row.bucket,
        row.id,
        kind=kind,
        principal=caller.principal.id,
        requester=row.requester,
        comment=comment,
    )


def _checked(comment: str | None, *, pointer: str = "/comment") -> str | None:
    if comment is None:
        return None
    return freetext.check_text(comment, pointer=pointer, max_length=COMMENT_LENGTH, multiline=True)
