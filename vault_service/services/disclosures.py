"""Disclosure requests from draft to grant, each step in one unit of work with its ledger entry.

What a ground asks for is decided by `domain.policy.decide`, what may follow what by
`domain.disclosures`; this module reads, asks them, and writes. The evidence is opened before the
row is locked, because it never changes and Vault may take its time; the state is read under lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import msgspec

from vault_service.domain import disclosures as rules
from vault_service.domain import freetext, tokens
from vault_service.domain import notice as notices
from vault_service.domain.actors import Action, Role
from vault_service.domain.disclosures import DisclosureRequest, Recipient, Scope, State
from vault_service.domain.disclosures import Event as Step
from vault_service.domain.evidence import EvidenceType, read_digest, write_digest
from vault_service.domain.grounds import Ground, Policy
from vault_service.domain.instruments import Instrument, lacking
from vault_service.domain.policy import Decision, Progress, Stage, decide
from vault_service.errors import Conflict, InvalidInput, NotFound, Problem
from vault_service.ledger.entries import Event, commit, new_salt
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import DecisionRow, DisclosureRow, NewDisclosure
from vault_service.services.documents import Documents
from vault_service.services.evidence_ports import DocumentRow
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.recipients import RecipientRecords
from vault_service.services.token_claims import PACKAGE, Bound, Grant
from vault_service.services.views import DecisionView, DisclosurePage, DisclosureView

MAX_PAGE: Final = 100
COMMENT_LENGTH: Final = 2000
DETAILS: Final = "disclosure-details"
COMMENT: Final = "disclosure-comment"
HOLDER: Final = "holder"
# What a draft may still lack. What it holds is judged like any request: evidence that may not be
# kept (a verification code, what the ground does not ask for) may not be kept in a draft either.
LACKING: Final = frozenset(("evidence_missing", "recipient_name_missing"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureDraft:
    """What a requester sends. Scope is tokens, or a customer and classes.

    With a `recipient`, kind and name are those of his record.
    """

    ground: str
    category: str
    recipient_kind: str = ""
    recipient_name: str = field(default="", repr=False)
    recipient: str | None = None
    recipient_key: str | None = None
    delivery: str = HOLDER
    proof_of_possession: bool = False
    tokens: tuple[str, ...] | None = None
    customer: str | None = None
    classes: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None
    evidence: Mapping[str, str] = field(default_factory=dict, repr=False)
    uses: int = 1
    duration_seconds: int | None = None
    amends: str | None = None


class PolicyRefused(InvalidInput):
    """The policy does not allow the request as it is; `problems` names every missing piece."""

    code = "disclosure_not_allowed"


class DeterminationIncomplete(InvalidInput):
    """A determination lacks what the policy holds a grant to; `problems` names every piece."""

    code = "determination_incomplete"


class Disclosures:
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

    # ------------------------------------------------------------ the requester's steps

    def explain(self, caller: Caller, draft: DisclosureDraft) -> Decision:
        """What the policy would say of a request, without doing anything.

        Raises:
            Forbidden: the caller may not request disclosures.
        """
        self._audit.require(caller, Action.REQUEST_DISCLOSURE)
        self._honeytokens.look(caller, _asked(draft))
        return self._judge(self._named(caller, draft), caller.principal.id)[1]

    def lacking(self, caller: Caller, disclosure: str) -> Decision:
        """What the policy says of a request as it stands: all that it lacks to become a grant.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is none, or it is another requester's.
        """
        self._audit.require(caller, Action.READ_DISCLOSURES)
        row = self._find(caller, disclosure)
        details = self._details(row)
        with self._uow.begin(read_only=True) as tx:
            decisions = tx.disclosures.decisions(row.bucket, row.id)
            return decide(
                self._policy,
                _request(tx, _draft(row, details), row.requester),
                now=row.now,
                progress=Progress(
                    approvals=len(_approvers(decisions)),
                    determined=_determined(row, decisions),
                    instrument=_instrument(tx, row),
                ),
            )

    def create(self, caller: Caller, draft: DisclosureDraft, *, is_draft: bool) -> DisclosureView:
        """Make a request: submitted, or kept as a draft.

        Raises:
            Forbidden: the caller may not request disclosures.
            PolicyRefused: the policy does not allow it; a draft may lack evidence and a name.
            VaultUnavailable: the evidence could not be sealed.
        """
        self._audit.require(caller, Action.REQUEST_DISCLOSURE)
        self._honeytokens.look(caller, _asked(draft))
        draft = self._named(caller, draft)
        self._check_amended(caller, draft)
        request, decision = self._judge(draft, caller.principal.id)
        ground = decision.ground
        lacking = LACKING if is_draft else frozenset()
        if ground is None or not {reason.code for reason in decision.missing} <= lacking:
            raise _refusal(decision)
        disclosure = tokens.new_disclosure_id()
        details = {"recipient": draft.recipient_name, "evidence": dict(draft.evidence)}
        salt = new_salt()
        row = NewDisclosure(
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
            details_salt=salt,
            recipient=draft.recipient,
            recipient_key=draft.recipient_key,
            delivery=draft.delivery,
            amends=draft.amends,
            notice_rule=ground.notice.rule,
            notice_after=notices.told_after(ground.notice, draft.evidence),
            scope_classes=request.scope.classes,
            proof_of_possession=draft.proof_of_possession or ground.proof_of_possession,
        )
        with self._uow.begin() as tx:
            stored = tx.disclosures.insert(row)
            _refer(tx, stored, ground, draft.evidence)
            event = Event.DISCLOSURE_DRAFTED if is_draft else Event.DISCLOSURE_SUBMITTED
            tx.outbox.append(
                self._told(
                    event,
                    caller,
                    stored,
                    commitments={"evidence": commit(msgspec.json.encode(details), salt)},
                    details={
                        "category": stored.category,
                        "recipient": stored.recipient_kind,
                        "uses": stored.uses,
                        **_told_amends(stored),
                        **told_bound(stored),
                    },
                )
            )
        return _view(stored, (), details)

    def submit(self, caller: Caller, disclosure: str) -> DisclosureView:
        """Submit a draft; harmless on what was submitted before.

        Raises:
            Forbidden: the caller is not the requester.
            NotFound: there is no such request of the caller's.
            Conflict: the request has come to its end.
            PolicyRefused: the policy does not allow it.
        """
        self._audit.require(caller, Action.REQUEST_DISCLOSURE)
        before = self._find(caller, disclosure)
        rules.check_requester(before.requester, caller.principal.id)
        details = self._details(before)
        if before.state == State.DRAFT:
            self._current(before)
            _, decision = self._judge(_draft(before, details), before.requester)
            if decision.missing:
                raise _refusal(decision)
        with self._uow.begin() as tx:
            row = _locked(tx, disclosure)
            after = rules.advance(
                state_now(row), Step.SUBMIT, determination_needed=row.determination_needed
            )
            if after != row.state:
                row = tx.disclosures.set_state(row.bucket, row.id, after)
                tx.outbox.append(
                    self._told(
                        Event.DISCLOSURE_SUBMITTED,
                        caller,
                        row,
                        details={
                            "category": row.category,
                            "recipient": row.recipient_kind,
                            "uses": row.uses,
                            **_told_amends(row),
                            **told_bound(row),
                        },
                    )
                )
            decisions = tx.disclosures.decisions(row.bucket, row.id)
        return self._shown(row, decisions, details)

    def withdraw(
        self, caller: Caller, disclosure: str, *, comment: str | None = None
    ) -> DisclosureView:
        """Take one's own request, or grant, back.

        Raises:
            NotFound: there is no such request of the caller's.
            Conflict: it has come to its end.
        """
        self._audit.require(caller, Action.WITHDRAW_DISCLOSURE)
        row = self._find(caller, disclosure)
        rules.check_requester(row.requester, caller.principal.id)
        return self._end(caller, row, "withdraw", Step.WITHDRAW, _checked(comment))

    # ------------------------------------------------------------ the officers' steps

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
            row = self._find(caller, disclosure)
            rules.check_decider(row.requester, caller.principal.id)
            self._check_instrument(row, instrument)
        return self._decide(
            caller,
            disclosure,
            kind="determine",
            step=Step.DETERMINE if valid else Step.DENY,
            comment=freetext.check_text(
                reasons, pointer="/reasons", max_length=COMMENT_LENGTH, multiline=True
            ),
            valid=valid,
            instrument=instrument if valid else None,
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
            comment=freetext.check_text(
                reasons, pointer="/reasons", max_length=COMMENT_LENGTH, multiline=True
            ),
        )

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

    def revoke(
        self, caller: Caller, disclosure: str, *, comment: str | None = None
    ) -> DisclosureView:
        """End a grant; its tokens reveal nothing from the next request on.

        Raises:
            Forbidden: the caller is no officer.
            Conflict: it is not an active grant.
        """
        self._audit.require(caller, Action.REVOKE_DISCLOSURE)
        row = self._find(caller, disclosure)
        return self._end(caller, row, "revoke", Step.REVOKE, _checked(comment))

    # ------------------------------------------------------------ reading

    def get(self, caller: Caller, disclosure: str) -> DisclosureView:
        """One request with its comments, for its requester and for officers.

        Its evidence is told its requester, and officers while there is something to decide on.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is none, or it is another requester's.
        """
        self._audit.require(caller, Action.READ_DISCLOSURES)
        row = self._find(caller, disclosure)
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
            instrument = _instrument(tx, row)
        return self._shown(row, decisions, self._details(row) if shows else None, instrument)

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
        items = tuple(_view(row, (), None) for row in rows[:limit])
        return DisclosurePage(items=items, next=items[-1].id if len(rows) > limit else None)

    # ------------------------------------------------------------ parts

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
            request = _request(tx, draft, requester)
            return request, decide(self._policy, request, now=tx.clock.now())

    def _decide(
        self,
        caller: Caller,
        disclosure: str,
        *,
        kind: str,
        step: Step,
        comment: str | None,
        valid: bool | None = None,
        instrument: Instrument | None = None,
    ) -> DisclosureView:
        """One officer's decision: its row, the state that follows, and the entries of both."""
        before = self._find(caller, disclosure)
        rules.check_decider(before.requester, caller.principal.id)
        details = self._details(before)
        sealed = None if comment is None else self._documents.seal(disclosure, COMMENT, comment)
        with self._uow.begin() as tx:
            row = _locked(tx, disclosure)
            decisions = tx.disclosures.decisions(row.bucket, row.id)
            lasts: timedelta | None = None
            if step is Step.APPROVE:
                step, lasts = self._approval(tx, caller, row, decisions, details)
            after = rules.advance(
                state_now(row), step, determination_needed=row.determination_needed
            )
            if step is Step.DENY and comment is None:
                raise InvalidInput(
                    "say why the request is denied", code="reasons_missing", pointer="/comment"
                )
            inserted = tx.disclosures.decide(
                row.bucket,
                row.id,
                kind=kind,
                principal=caller.principal.id,
                requester=row.requester,
                comment=sealed,
            )
            if not inserted:
                raise Conflict("you have decided on this request before", code="already_decided")
            if instrument is not None:
                tx.instruments.insert(row.bucket, row.id, instrument)
            details_told = _told_details(kind, row, valid, instrument)
            told = self._told(_EVENTS[kind], caller, row, details=details_told)
            if step is Step.APPROVE_LAST:
                told += self._supersede(tx, caller, row)
                tx.disclosures.set_state(row.bucket, row.id, after)
                after = rules.advance(
                    after, Step.START, determination_needed=row.determination_needed
                )
                row = tx.disclosures.set_state(row.bucket, row.id, after, lasts=lasts)
                told += self._told(
                    Event.DISCLOSURE_ACTIVATED, caller, row, details={"uses": row.uses}
                )
            elif after != row.state:
                row = tx.disclosures.set_state(row.bucket, row.id, after)
            if kind in _FINDINGS and after in _ENDS:
                told += self._told(_ENDS[after], caller, row)
            tx.outbox.append(told)
            decisions = tx.disclosures.decisions(row.bucket, row.id)
            instrument = _instrument(tx, row)
        return self._shown(row, decisions, details, instrument)

    def _approval(
        self,
        tx: Transaction,
        caller: Caller,
        row: DisclosureRow,
        decisions: Sequence[DecisionRow],
        details: Mapping[str, Any],
    ) -> tuple[Step, timedelta | None]:
        """Whether this approval is the last one, and how long the grant then lasts.

        Raises:
            Conflict: the officer approved before.
            PolicyRefused: the policy, asked once more with all that was decided, says no.
        """
        approved = _approvers(decisions)
        rules.check_approver(row.requester, caller.principal.id, approved)
        # Impossible in this state is told before what is missing.
        rules.advance(state_now(row), Step.APPROVE, determination_needed=row.determination_needed)
        self._current(row)
        decision = decide(
            self._policy,
            _request(tx, _draft(row, details), row.requester),
            now=row.now,
            progress=Progress(
                approvals=len(approved) + 1,
                determined=True if row.state == State.DETERMINED else None,
                instrument=_instrument(tx, row),
            ),
        )
        if decision.missing_at(Stage.REQUEST) or decision.missing_at(Stage.DETERMINATION):
            raise _refusal(decision)
        if not rules.last_approval(approved, row.approvals_needed):
            return Step.APPROVE, None
        if not decision.allowed:
            raise _refusal(decision)
        return Step.APPROVE_LAST, decision.duration

    def _current(self, row: DisclosureRow) -> None:
        """A request lives and dies under the policy version that it was made under.

        Raises:
            Conflict: the policy has changed since.
        """
        if row.policy != self._policy.version:
            raise Conflict(
                "the policy has changed since this request was made",
                code="policy_changed",
                hint="make a new request",
            )

    def _check_instrument(self, row: DisclosureRow, instrument: Instrument | None) -> None:
        """Return if all is said of the instrument that the ground's determination must say.

        Raises:
            Conflict: the policy has changed.
            DeterminationIncomplete: something is missing; all of it is told at once.
        """
        self._current(row)
        ground = self._policy.grounds[row.ground, row.category]
        binds = () if ground.determination is None else ground.determination.binds
        problems = tuple(
            Problem(code=each.code, pointer=pointer, detail=each.detail, clause=ground.clause)
            for each, pointer in lacking(instrument or Instrument(), binds)
        )
        if problems:
            raise DeterminationIncomplete(
                "a determination says of the instrument what a grant is held to", problems=problems
            )

    def _check_amended(self, caller: Caller, draft: DisclosureDraft) -> None:
        """Return if the draft amends nothing, or a request that it may amend.

        Raises:
            NotFound: there is no such request of the caller's.
            Conflict: it was never submitted, or has come to its end.
            InvalidInput: it is on another ground.
        """
        if draft.amends is None:
            return
        row = self._find(caller, draft.amends)
        rules.check_requester(row.requester, caller.principal.id)
        rules.advance(state_now(row), Step.SUPERSEDE, determination_needed=row.determination_needed)
        if (row.ground, row.category) != (draft.ground, draft.category):
            raise InvalidInput(
                "an amendment stays on the ground of what it amends",
                code="amendment_on_another_ground",
                pointer="/ground",
            )

    def _supersede(self, tx: Transaction, caller: Caller, row: DisclosureRow) -> list[OutboxEntry]:
        """End the request that a request which becomes a grant amends.

        Whoever starts holds the lock of his own row first and takes that of the older request
        then. Amendments lead backwards only, so two of them never wait for each other.

        Raises:
            Conflict: another amendment of it has become a grant meanwhile.
        """
        if row.amends is None:
            return []
        before = _locked(tx, row.amends)
        state = state_now(before)
        if state is State.SUPERSEDED:
            raise Conflict(
                "another amendment of the same request has become a grant",
                code="disclosure_superseded",
            )
        if state in rules.TERMINAL:
            return []
        after = rules.advance(
            state, Step.SUPERSEDE, determination_needed=before.determination_needed
        )
        before = tx.disclosures.set_state(before.bucket, before.id, after)
        return self._told(
            Event.DISCLOSURE_SUPERSEDED, caller, before, details={"successor": row.id}
        )

    def _end(
        self, caller: Caller, row: DisclosureRow, kind: str, step: Step, comment: str | None
    ) -> DisclosureView:
        # Without a comment this asks Vault for nothing: a grant can be ended while Vault is away.
        sealed = None if comment is None else self._documents.seal(row.id, COMMENT, comment)
        with self._uow.begin() as tx:
            row = _locked(tx, row.id)
            after = rules.advance(
                state_now(row), step, determination_needed=row.determination_needed
            )
            tx.disclosures.decide(
                row.bucket,
                row.id,
                kind=kind,
                principal=caller.principal.id,
                requester=row.requester,
                comment=sealed,
            )
            row = tx.disclosures.set_state(row.bucket, row.id, after)
            tx.outbox.append(self._told(_EVENTS[kind], caller, row))
        return _view(row, (), None)

    def _find(self, caller: Caller, disclosure: str) -> DisclosureRow:
        """A request that the caller may know of: his own, or any for an officer.

        Raises:
            NotFound: there is none; another's answers alike.
        """
        missing = NotFound("there is no such disclosure request", code="disclosure_not_found")
        try:
            bucket = tokens.bucket_from_disclosure_id(disclosure)
        except InvalidInput as exc:
            raise missing from exc
        with self._uow.begin(read_only=True) as tx:
            row = tx.disclosures.get(bucket, disclosure)
        if row is None:
            raise missing
        if row.requester != caller.principal.id and Role.OFFICER not in caller.principal.roles:
            raise missing
        return row

    def _details(self, row: DisclosureRow) -> dict[str, Any]:
        (details,) = self._documents.open(row.id, [(DETAILS, row.details)])
        return msgspec.convert(details, dict[str, Any])

    def _told(
        self,
        event: Event,
        caller: Caller,
        row: DisclosureRow,
        *,
        commitments: Mapping[str, str] | None = None,
        details: Mapping[str, str | int] | None = None,
    ) -> list[OutboxEntry]:
        return self._audit.entries(
            event,
            caller,
            at=row.now,
            grant=row,
            customer=row.customer,
            commitments=commitments,
            details=details,
        )

    def _shown(
        self,
        row: DisclosureRow,
        decisions: Sequence[DecisionRow],
        details: Mapping[str, Any] | None,
        instrument: Instrument | None = None,
    ) -> DisclosureView:
        sealed = [each.comment for each in decisions if each.comment is not None]
        comments = iter(self._documents.open(row.id, [(COMMENT, each) for each in sealed]))
        views = tuple(
            DecisionView(
                kind=each.kind,
                principal=each.principal,
                at=each.at,
                comment=None if each.comment is None else str(next(comments)),
            )
            for each in decisions
        )
        return _view(row, views, details, instrument)


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


def _told_details(
    kind: str,
    row: DisclosureRow,
    valid: bool | None,  # noqa: FBT001 -- a finding, not a switch
    instrument: Instrument | None,
) -> dict[str, str | int] | None:
    if kind == "approve":
        return {**told_bound(row)} or None
    if kind != "determine":
        return None
    said = instrument or Instrument()
    days = {"begins": said.begins, "ends": said.ends}
    return {
        "valid": "yes" if valid else "no",
        **{name: day.isoformat() for name, day in days.items() if day is not None},
    }


def _asked(draft: DisclosureDraft) -> tuple[str, ...]:
    """Whom and what a request names: who only asks about it has been told that it is there."""
    return (*(draft.tokens or ()), *(() if draft.customer is None else (draft.customer,)))


def _told_amends(row: DisclosureRow) -> dict[str, str]:
    return {} if row.amends is None else {"amends": row.amends}


def _approvers(decisions: Sequence[DecisionRow]) -> set[str]:
    return {each.principal for each in decisions if each.kind == "approve"}


def _determined(row: DisclosureRow, decisions: Sequence[DecisionRow]) -> bool | None:
    """What was found of the instrument, by what followed: a negative finding ends the request."""
    kinds = {each.kind for each in decisions}
    if "determine" not in kinds:
        return None
    return "annul" not in kinds and (row.state != State.DENIED or "deny" in kinds)


def _instrument(tx: Transaction, row: DisclosureRow) -> Instrument | None:
    if not row.determination_needed:
        return None
    return tx.instruments.of([(row.bucket, row.id)]).get(row.id)


def told_bound(row: DisclosureRow) -> dict[str, str]:
    """What an entry tells of the recipient on record, his key, a package, and a proof demanded."""
    told = {
        "recipient_id": row.recipient,
        "recipient_key": row.recipient_key,
        "delivery": row.delivery if row.delivery == PACKAGE else None,
        "proof": "dpop" if row.proof_of_possession else None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _locked(tx: Transaction, disclosure: str) -> DisclosureRow:
    bucket = tokens.bucket_from_disclosure_id(disclosure)
    row = tx.disclosures.get(bucket, disclosure, lock=True)
    if row is None:
        raise NotFound("there is no such disclosure request", code="disclosure_not_found")
    return row


def state_now(row: DisclosureRow) -> State:
    """The state as it counts now: a grant past its end is expired, whatever the row says yet."""
    state = State(row.state)
    if state is State.ACTIVE and row.expires_at is not None and row.expires_at <= row.now:
        return State.EXPIRED
    return state


def _checked(comment: str | None) -> str | None:
    if comment is None:
        return None
    return freetext.check_text(
        comment, pointer="/comment", max_length=COMMENT_LENGTH, multiline=True
    )


def _draft(row: DisclosureRow, details: Mapping[str, Any]) -> DisclosureDraft:
    return DisclosureDraft(
        ground=row.ground,
        category=row.category,
        recipient_kind=row.recipient_kind,
        recipient_name=str(details["recipient"]),
        recipient=row.recipient,
        recipient_key=row.recipient_key,
        delivery=row.delivery,
        proof_of_possession=row.proof_of_possession,
        tokens=row.tokens,
        customer=row.customer,
        classes=row.classes,
        fields=row.fields,
        evidence=msgspec.convert(details["evidence"], dict[str, str]),
        uses=row.uses,
        duration_seconds=int(row.duration.total_seconds()),
    )


def _request(tx: Transaction, draft: DisclosureDraft, requester: str) -> DisclosureRequest:
    """The request as the policy judges it, with what it names looked up: records, documents.

    Raises:
        InvalidInput: a token or the customer is unknown; which of several is not told apart from
            malformed ones.
    """
    classes = draft.classes or ()
    customers: tuple[str, ...] = ()
    if draft.tokens is not None:
        names: list[tuple[int, str]] = []
        for index, token in enumerate(draft.tokens):
            names.append((tokens.bucket_of_value(token, pointer=f"/tokens/{index}"), token))
        found = tx.records.masked(names)
        for index, token in enumerate(draft.tokens):
            if token not in found:
                raise InvalidInput(
                    "there is no such token", code="token_not_found", pointer=f"/tokens/{index}"
                )
        classes = tuple(sorted({record.data_class for record in found.values()}))
        customers = tuple(sorted({record.customer for record in found.values()}))
    elif draft.customer is not None:
        customer = tokens.check_customer_id(draft.customer, pointer="/customer")
        if customer not in tx.customers.get([(tokens.bucket_of(customer), customer)]):
            raise InvalidInput(
                "there is no such customer", code="customer_not_found", pointer="/customer"
            )
    return DisclosureRequest(
        ground=draft.ground,
        category=draft.category,
        scope=Scope(
            tokens=draft.tokens,
            customer=draft.customer,
            classes=classes,
            fields=draft.fields,
            customers=customers,
        ),
        recipient=Recipient(kind=draft.recipient_kind, name=draft.recipient_name),
        evidence=draft.evidence,
        documents=frozenset(_documents(tx, draft.evidence, requester)),
        uses=draft.uses,
        duration=(
            None if draft.duration_seconds is None else timedelta(seconds=draft.duration_seconds)
        ),
    )


def _documents(
    tx: Transaction, evidence: Mapping[str, str], requester: str
) -> dict[str, DocumentRow]:
    """The requester's documents that his evidence names, by the digest as it stands there."""
    digests = {read_digest(value) for value in evidence.values()} - {None}
    found = tx.evidence.by_digest(requester, [digest for digest in digests if digest is not None])
    return {write_digest(digest): document for digest, document in found.items()}


def _refer(
    tx: Transaction, row: DisclosureRow, ground: Ground, evidence: Mapping[str, str]
) -> None:
    """Have a request refer to the documents of its evidence, which are then kept.

    Raises:
        InvalidInput: one was purged since the policy was asked.
    """
    documents = _documents(tx, evidence, row.requester)
    for name in (each.name for each in ground.evidence if each.type is EvidenceType.DOCUMENT):
        shown = evidence.get(name, "")
        if not shown.strip():  # a draft may lack it
            continue
        document = documents.get(shown)
        if document is None or not tx.evidence.refer(row.bucket, row.id, name, document):
            raise InvalidInput(
                "the requester has uploaded no document with this digest",
                code="evidence_document_unknown",
                pointer=f"/evidence/{name}",
            )


def _refusal(decision: Decision) -> PolicyRefused:
    return PolicyRefused(
        "the policy does not allow this request as it is",
        problems=tuple(
            Problem(
                code=reason.code,
                pointer=reason.pointer,
                detail=reason.detail,
                clause=reason.clause,
            )
            for reason in decision.missing
        ),
    )


def _view(
    row: DisclosureRow,
    decisions: tuple[DecisionView, ...],
    details: Mapping[str, Any] | None,
    instrument: Instrument | None = None,
) -> DisclosureView:
    return DisclosureView(
        id=row.id,
        state=state_now(row),
        requester=row.requester,
        ground=row.ground,
        category=row.category,
        clause=row.clause,
        policy=row.policy,
        recipient_kind=row.recipient_kind,
        recipient_name=None if details is None else str(details["recipient"]),
        recipient=row.recipient,
        recipient_key=row.recipient_key,
        delivery=row.delivery,
        proof_of_possession=row.proof_of_possession,
        evidence=None if details is None else msgspec.convert(details["evidence"], dict[str, str]),
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


def told_grant(row: DisclosureRow) -> Grant:
    """The grant as far as a disclosure token tells of it."""
    return Grant(
        id=row.id,
        policy=row.policy,
        ground=row.ground,
        category=row.category,
        recipient=row.recipient_kind,
        uses=row.uses,
        scope=Scope(
            tokens=row.tokens,
            customer=row.customer,
            classes=row.classes or (),
            fields=row.fields,
        ),
        bound=Bound(
            recipient_id=row.recipient,
            recipient_key=row.recipient_key,
            delivery=row.delivery if row.delivery == PACKAGE else None,
        ),
    )
