"""Asking for a disclosure: what the policy would say, drafts, and requests to decide on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from vault_service.domain import disclosures as rules
from vault_service.domain import notice as notices
from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.disclosures import DisclosureRequest, State
from vault_service.domain.disclosures import Event as Step
from vault_service.domain.grounds import Ground, Policy
from vault_service.domain.policy import Decision, decide
from vault_service.errors import InvalidInput
from vault_service.ledger.entries import Event, commit, new_salt
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import NewDisclosure
from vault_service.services.disclosures.drafts import (
    HOLDER,
    DisclosureDraft,
    draft_of,
    named_in,
    refer,
    refusal,
    request_of,
)
from vault_service.services.disclosures.entries import told, told_request
from vault_service.services.disclosures.rows import check_current, find, found, state_now
from vault_service.services.disclosures.views import DETAILS, Details, open_details, shown, view
from vault_service.services.documents import Documents
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import UnitOfWork
from vault_service.services.recipients import RecipientRecords
from vault_service.services.token_claims import PACKAGE
from vault_service.services.views import DisclosureView

# What a draft may still lack. What it holds is judged like any request: evidence that may not be
# kept (a verification code, what the ground does not ask for) may not be kept in a draft either.
LACKING: Final = frozenset(("evidence_missing", "recipient_name_missing"))


class DisclosureRequests:
    """The use case."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        documents: Documents,
        recipients: RecipientRecords,
        policy: Policy,
        audit: Audit,
        honeytokens: Honeytokens,
    ) -> None:
        self._uow = uow
        self._documents = documents
        self._recipients = recipients
        self._policy = policy
        self._honeytokens = honeytokens
        self._audit = audit

    def explain(self, caller: Caller, draft: DisclosureDraft) -> Decision:
        """What the policy would say of a request, without doing anything.

        Raises:
            Forbidden: the caller may not request disclosures.
        """
        self._audit.require(caller, Action.REQUEST_DISCLOSURE)
        self._honeytokens.look(caller, named_in(draft))
        return self._judge(self._named(caller, draft), caller.principal.id)[1]

    def create(self, caller: Caller, draft: DisclosureDraft, *, is_draft: bool) -> DisclosureView:
        """Make a request: submitted, or kept as a draft.

        Raises:
            Forbidden: the caller may not request disclosures.
            PolicyRefused: the policy does not allow it; a draft may lack evidence and a name.
            VaultUnavailable: the evidence could not be sealed.
        """
        self._audit.require(caller, Action.REQUEST_DISCLOSURE)
        self._honeytokens.look(caller, named_in(draft))
        draft = self._named(caller, draft)
        self._check_amended(caller, draft)
        request, decision = self._judge(draft, caller.principal.id)
        ground = decision.ground
        lacking = LACKING if is_draft else frozenset()
        if ground is None or not {reason.code for reason in decision.missing} <= lacking:
            raise refusal(decision)
        details = Details(recipient=draft.recipient_name, evidence=dict(draft.evidence))
        row = self._row(caller, draft, request, ground, details, is_draft=is_draft)
        with self._uow.begin() as tx:
            stored = tx.disclosures.insert(row)
            refer(tx, stored, ground, draft.evidence)
            tx.outbox.append(
                told(
                    self._audit,
                    Event.DISCLOSURE_DRAFTED if is_draft else Event.DISCLOSURE_SUBMITTED,
                    caller,
                    stored,
                    commitments={
                        "evidence": commit(msgspec.json.encode(details), row.details_salt)
                    },
                    details=told_request(stored),
                )
            )
        return view(stored, details)

    def submit(self, caller: Caller, disclosure: str) -> DisclosureView:
        """Submit a draft; harmless on what was submitted before.

        Raises:
            Forbidden: the caller is not the requester.
            NotFound: there is no such request of the caller's.
            Conflict: the request has come to its end.
            PolicyRefused: the policy does not allow it.
        """
        self._audit.require(caller, Action.REQUEST_DISCLOSURE)
        before = find(self._uow, caller, disclosure)
        rules.check_requester(before.requester, caller.principal.id)
        details = open_details(self._documents, before)
        if before.state == State.DRAFT:
            check_current(before, self._policy)
            _, decision = self._judge(draft_of(before, details), before.requester)
            if decision.missing:
                raise refusal(decision)
        with self._uow.begin() as tx:
            row = found(tx, disclosure, lock=True)
            after = rules.advance(
                state_now(row), Step.SUBMIT, determination_needed=row.determination_needed
            )
            if after != row.state:
                row = tx.disclosures.set_state(row.bucket, row.id, after)
                tx.outbox.append(
                    told(
                        self._audit,
                        Event.DISCLOSURE_SUBMITTED,
                        caller,
                        row,
                        details=told_request(row),
                    )
                )
            decisions = tx.disclosures.decisions(row.bucket, row.id)
        return shown(self._documents, row, decisions, details)

    def _named(self, caller: Caller, draft: DisclosureDraft) -> DisclosureDraft:
        """The draft with kind, name and key of the recipient that it names, if it names one.

        Raises:
            InvalidInput: there is no such recipient, or no key to seal a package for.
        """
        if draft.recipient is not None:
            row, name = self._recipients.named(draft.recipient)
            # Who forwards a package cannot read it, so its key is not of his choosing.
            if draft.delivery == PACKAGE and row.created_by == caller.principal.id:
                raise InvalidInput(
                    "a package is for a recipient whom somebody else put on record",
                    code="recipient_own",
                    pointer="/recipient/id",
                )
            draft = replace(
                draft,
                recipient_kind=row.kind,
                recipient_name=name,
                recipient_key=row.thumbprint,
            )
        if draft.delivery not in {HOLDER, PACKAGE}:
            raise InvalidInput(
                "delivery is to the holder or as a package",
                code="delivery_unknown",
                pointer="/delivery",
            )
        if draft.delivery == PACKAGE and draft.recipient_key is None:
            raise InvalidInput(
                "a package needs a recipient on record with a public key",
                code="recipient_key_missing",
                pointer="/delivery",
            )
        return draft

    def _judge(self, draft: DisclosureDraft, requester: str) -> tuple[DisclosureRequest, Decision]:
        with self._uow.begin(read_only=True) as tx:
            request = request_of(tx, draft, requester)
            return request, decide(self._policy, request, now=tx.clock.now())

    def _check_amended(self, caller: Caller, draft: DisclosureDraft) -> None:
        """Return if the draft amends nothing, or a request that it may amend.

        Raises:
            NotFound: there is no such request of the caller's.
            Conflict: it was never submitted, or has come to its end.
            InvalidInput: it is on another ground.
        """
        if draft.amends is None:
            return
        row = find(self._uow, caller, draft.amends)
        rules.check_requester(row.requester, caller.principal.id)
        rules.advance(state_now(row), Step.SUPERSEDE, determination_needed=row.determination_needed)
        if (row.ground, row.category) != (draft.ground, draft.category):
            raise InvalidInput(
                "an amendment stays on the ground of what it amends",
                code="amendment_on_another_ground",
                pointer="/ground",
            )

    def _row(
        self,
        caller: Caller,
        draft: DisclosureDraft,
        request: DisclosureRequest,
        ground: Ground,
        details: Details,
        *,
        is_draft: bool,
    ) -> NewDisclosure:
        disclosure = tokens.new_disclosure_id()
        return NewDisclosure(
            bucket=tokens.bucket_from_disclosure_id(disclosure),
            id=disclosure,
            state=State.DRAFT if is_draft else State.SUBMITTED,
            requester=caller.principal.id,
            ground=ground.name,
            category=ground.category,
            clause=ground.clause,
            policy=self._policy.version,
            recipient_kind=draft.recipient_kind,
            tokens=request.scope.tokens,
            customer=request.scope.customer,
            classes=None if request.scope.customer is None else request.scope.classes,
            fields=request.scope.fields,
            uses=draft.uses,
            duration=request.duration or ground.longest,
            approvals_needed=ground.approvals,
            determination_needed=ground.determination is not None,
            details=self._documents.seal(disclosure, DETAILS, details),
            details_salt=new_salt(),
            recipient=draft.recipient,
            recipient_key=draft.recipient_key,
            delivery=draft.delivery,
            amends=draft.amends,
            notice_rule=ground.notice.rule,
            notice_after=notices.told_after(ground.notice, draft.evidence),
            scope_classes=request.scope.classes,
            proof_of_possession=draft.proof_of_possession or ground.proof_of_possession,
        )
