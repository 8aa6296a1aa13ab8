"""Calls on disclosure requests: ask, explain, determine, approve, deny, revoke, withdraw."""

from __future__ import annotations

from typing import Any, Final

from vault_service.api import views
from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import (
    AnnulmentIn,
    CommentIn,
    DeterminationIn,
    DisclosureIn,
    DisclosureOut,
    DisclosurePageOut,
    DisclosuresQuery,
    ExplanationOut,
    InstrumentIn,
    NothingIn,
    Recipient,
)
from vault_service.domain.actors import Action
from vault_service.domain.instruments import Instrument
from vault_service.errors import InvalidInput
from vault_service.services.disclosures.drafts import DisclosureDraft
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("disclosures", ProcessRole.CONSOLE)

_EXAMPLE: Final[dict[str, Any]] = {
    "ground": "protect_from_harm",
    "category": "personal_and_account",
    "tokens": ["tok_0000000000000000000000000000"],
    "uses": 1,
    "recipient": {"kind": "counterparty", "name": "Counsel of the harmed"},
    "evidence": {
        "harm": "repeated threats by telephone",
        "harmed": "another customer",
        "action": "identify",
        "case_reference": "CASE-1",
    },
}
_COMMENT: Final = {"comment": "checked against the case file"}
_STEP_CODES: Final = ("disclosure_not_found",)


def _check_recipient(recipient: Recipient, *, complete: bool) -> None:
    """Return if a recipient is named in one way.

    Raises:
        InvalidInput: in both ways, or, where it must be `complete`, in none.
    """
    if recipient.id is not None:
        if recipient.kind is not None or recipient.name is not None:
            raise InvalidInput(
                "name a recipient on record, or kind and name",
                code="recipient_ambiguous",
                pointer="/recipient",
            )
        return
    for name in ("kind", "name") if complete else ():
        if getattr(recipient, name) is None:
            raise InvalidInput(
                "a required field is missing", code="field_missing", pointer=f"/recipient/{name}"
            )


def _draft(body: DisclosureIn, *, complete: bool = True) -> DisclosureDraft:
    """What a body asks for; without `complete` the policy says what its recipient lacks."""
    recipient = body.recipient
    _check_recipient(recipient, complete=complete)
    return DisclosureDraft(
        ground=body.ground,
        category=body.category,
        recipient_kind=recipient.kind or "",
        recipient_name=recipient.name or "",
        recipient=recipient.id,
        delivery=body.delivery,
        amends=body.amends,
        proof_of_possession=body.proof_of_possession,
        tokens=None if body.tokens is None else tuple(body.tokens),
        customer=body.customer,
        classes=None if body.classes is None else tuple(body.classes),
        fields=None if body.fields is None else tuple(body.fields),
        evidence=body.evidence,
        uses=body.uses,
        duration_seconds=body.duration_seconds,
    )


@GROUP.call(
    "POST",
    "/v1/disclosures",
    "Request a disclosure on a ground of the policy.",
    action=Action.REQUEST_DISCLOSURE,
    body=DisclosureIn,
    answers={201: DisclosureOut},
    example=_EXAMPLE,
    codes=(
        "disclosure_not_allowed",
        "card_number_not_allowed_here",
        "recipient_not_found",
        "recipient_ambiguous",
        "recipient_key_missing",
        "recipient_own",
        "disclosure_not_found",
        "amendment_on_another_ground",
    ),
)
def create_disclosure(call: Call[DisclosureIn, None]) -> Answer:
    """Request a disclosure."""
    view = present(call.served.disclosures).create(
        call.caller, _draft(call.body), is_draft=call.body.draft
    )
    return Answer(body=views.disclosure(view), status=201)


@GROUP.call(
    "POST",
    "/v1/disclosures/explain",
    "Ask whether the policy would allow a request; nothing is done.",
    action=Action.REQUEST_DISCLOSURE,
    body=DisclosureIn,
    answers={200: ExplanationOut},
    example=_EXAMPLE,
)
def explain_disclosure(call: Call[DisclosureIn, None]) -> Answer:
    """Explain what the policy says."""
    decision = present(call.served.disclosures).explain(
        call.caller, _draft(call.body, complete=False)
    )
    return Answer(body=views.explanation(decision))


@GROUP.call(
    "GET",
    "/v1/disclosures",
    "List requests: a requester's own, all for an officer.",
    action=Action.READ_DISCLOSURES,
    query=DisclosuresQuery,
    answers={200: DisclosurePageOut},
    codes=("cursor_invalid",),
)
def list_disclosures(call: Call[None, DisclosuresQuery]) -> Answer:
    """List requests."""
    page = present(call.served.disclosure_reading).page(
        call.caller, state=call.query.state, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(
        body=DisclosurePageOut(
            items=[views.disclosure(item) for item in page.items], next=page.next
        )
    )


@GROUP.call(
    "GET",
    "/v1/disclosures/{disclosure}",
    "Read one request.",
    action=Action.READ_DISCLOSURES,
    answers={200: DisclosureOut},
    codes=_STEP_CODES,
)
def get_disclosure(call: Call[None, None]) -> Answer:
    """Read one request."""
    view = present(call.served.disclosure_reading).get(call.caller, call.path["disclosure"])
    return Answer(body=views.disclosure(view))


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/submit",
    "Submit a draft; harmless on a submitted request.",
    action=Action.REQUEST_DISCLOSURE,
    body=NothingIn,
    optional_body=True,
    answers={200: DisclosureOut},
    example={},
    codes=(*_STEP_CODES, "disclosure_not_allowed"),
)
def submit_disclosure(call: Call[NothingIn, None]) -> Answer:
    """Submit a draft."""
    view = present(call.served.disclosures).submit(call.caller, call.path["disclosure"])
    return Answer(body=views.disclosure(view))


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/determine",
    "Record what an officer found about a legal instrument.",
    action=Action.DETERMINE_DISCLOSURE,
    body=DeterminationIn,
    answers={200: DisclosureOut},
    example={"valid": True, "reasons": "served in due form by the court named in it"},
    codes=(*_STEP_CODES, "own_request"),
)
def determine_disclosure(call: Call[DeterminationIn, None]) -> Answer:
    """Record a determination."""
    view = present(call.served.decisions).determine(
        call.caller,
        call.path["disclosure"],
        valid=call.body.valid,
        reasons=call.body.reasons,
        instrument=None if call.body.instrument is None else _instrument(call.body.instrument),
    )
    return Answer(body=views.disclosure(view))


def _instrument(body: InstrumentIn) -> Instrument:
    return Instrument(
        tokens=None if body.tokens is None else tuple(body.tokens),
        customer=body.customer,
        classes=tuple(body.classes or ()),
        begins=body.begins,
        ends=body.ends,
    )


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/annul",
    "Record that an instrument is valid no longer; the request or grant ends at once.",
    action=Action.DETERMINE_DISCLOSURE,
    body=AnnulmentIn,
    answers={200: DisclosureOut},
    example={"reasons": "lifted by the court on the appeal of 2 May"},
    codes=(*_STEP_CODES, "own_request", "determination_missing", "determination_not_needed"),
)
def annul_disclosure(call: Call[AnnulmentIn, None]) -> Answer:
    """Annul."""
    view = present(call.served.decisions).annul(
        call.caller, call.path["disclosure"], reasons=call.body.reasons
    )
    return Answer(body=views.disclosure(view))


@GROUP.call(
    "GET",
    "/v1/disclosures/{disclosure}/explain",
    "Ask what a request lacks to become a grant; nothing is done.",
    action=Action.READ_DISCLOSURES,
    answers={200: ExplanationOut},
    codes=_STEP_CODES,
)
def explain_request(call: Call[None, None]) -> Answer:
    """Explain what a request lacks."""
    decision = present(call.served.disclosure_reading).lacking(call.caller, call.path["disclosure"])
    return Answer(body=views.explanation(decision))


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/approve",
    "Approve a request of somebody else.",
    action=Action.DECIDE_DISCLOSURE,
    body=CommentIn,
    optional_body=True,
    answers={200: DisclosureOut},
    example=_COMMENT,
    codes=(*_STEP_CODES, "own_request", "already_approved_by_you"),
)
def approve_disclosure(call: Call[CommentIn, None]) -> Answer:
    """Approve."""
    view = present(call.served.decisions).approve(
        call.caller, call.path["disclosure"], comment=call.body.comment
    )
    return Answer(body=views.disclosure(view))


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/deny",
    "Deny a request.",
    action=Action.DECIDE_DISCLOSURE,
    body=CommentIn,
    optional_body=True,
    answers={200: DisclosureOut},
    example=_COMMENT,
    codes=(*_STEP_CODES, "own_request"),
)
def deny_disclosure(call: Call[CommentIn, None]) -> Answer:
    """Deny."""
    view = present(call.served.decisions).deny(
        call.caller, call.path["disclosure"], comment=call.body.comment
    )
    return Answer(body=views.disclosure(view))


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/revoke",
    "Revoke a grant; it acts on the next request.",
    action=Action.REVOKE_DISCLOSURE,
    body=CommentIn,
    optional_body=True,
    answers={200: DisclosureOut},
    example=_COMMENT,
    codes=_STEP_CODES,
)
def revoke_disclosure(call: Call[CommentIn, None]) -> Answer:
    """Revoke."""
    view = present(call.served.decisions).revoke(
        call.caller, call.path["disclosure"], comment=call.body.comment
    )
    return Answer(body=views.disclosure(view))


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/withdraw",
    "Withdraw one's own request.",
    action=Action.WITHDRAW_DISCLOSURE,
    body=CommentIn,
    optional_body=True,
    answers={200: DisclosureOut},
    example=_COMMENT,
    codes=(*_STEP_CODES, "not_your_request"),
)
def withdraw_disclosure(call: Call[CommentIn, None]) -> Answer:
    """Withdraw."""
    view = present(call.served.decisions).withdraw(
        call.caller, call.path["disclosure"], comment=call.body.comment
    )
    return Answer(body=views.disclosure(view))
