"""The one call that answers with plaintext, and the one that gives out the token for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from vault_service.api import views
from vault_service.api.calls import Answer, Call, Group, HeaderParameter, Together
from vault_service.api.evidence import OCTETS
from vault_service.api.schemas import (
    ContentIn,
    DisclosureTokenOut,
    NothingIn,
    ReceiptOut,
    RevealIn,
    RevealOut,
)
from vault_service.domain.actors import Action
from vault_service.services.dpop import ShownProof
from vault_service.services.granting import IssueRequest
from vault_service.services.reveal.use_case import CALLS
from vault_service.services.reveal.work import RevealRequest
from vault_service.services.views import IssuedDisclosureToken, RevealAnswer
from vault_service.settings import ProcessRole
from vault_service.web.rates import Rate
from vault_service.web.served import present

GROUP: Final = Group("reveal", ProcessRole.REVEAL)

_PROOF: Final = HeaderParameter(
    name="DPoP",
    description="A proof of possession (RFC 9449), where the grant or the token demands one.",
)
_TOKEN: Final = HeaderParameter(
    name="Disclosure-Token", description="The disclosure token, a JWS.", required=True
)
# What every proof can be refused for.
_PROOF_CODES: Final = (
    "use_dpop_nonce",
    "dpop_proof_missing",
    "dpop_proof_malformed",
    "dpop_proof_type",
    "dpop_proof_critical_header",
    "dpop_proof_algorithm",
    "dpop_proof_key",
    "dpop_proof_key_private",
    "dpop_proof_signature",
    "dpop_proof_claims",
    "dpop_proof_method",
    "dpop_proof_address",
    "dpop_proof_token",
    "dpop_proof_time",
    "dpop_proof_replayed",
)
# What every reveal can be refused for.
_REVEAL_CODES: Final = (
    "disclosure_token_missing",
    "disclosure_token_holder",
    "disclosure_scope_exceeded",
    "disclosure_budget_exhausted",
    "disclosure_spent",
    "disclosure_grant_unknown",
    "disclosure_grant_ended",
    "disclosure_policy_changed",
    "recipient_key_changed",
    "token_not_found",
    "commit_unknown",
    "disclosure_token_proof",
    "disclosure_token_unbound",
    *_PROOF_CODES,
)


def _shown(call: Call[Any, Any]) -> ShownProof | None:
    jws = call.request.headers.get("DPoP")
    if jws is None:
        return None
    return ShownProof(jws=jws, method=call.request.method, path=call.request.path)


def _next(nonce: str | None) -> Mapping[str, str]:
    return {} if nonce is None else {"DPoP-Nonce": nonce}


def _issued(_: Call[NothingIn, None], issued: IssuedDisclosureToken) -> Answer:
    return Answer(
        body=DisclosureTokenOut(token=issued.token, expires_at=issued.expires_at),
        status=201,
        headers=_next(issued.nonce),
    )


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/token",
    "Exchange a grant for a short-lived disclosure token.",
    action=Action.TAKE_DISCLOSURE_TOKEN,
    body=NothingIn,
    optional_body=True,
    answers={201: DisclosureTokenOut},
    headers=(_PROOF,),
    example={},
    codes=(
        "disclosure_not_found",
        "disclosure_not_active",
        "policy_changed",
        "grant_out_of_policy",
        *_PROOF_CODES,
    ),
    rate=Rate.REVEALS,
    together=Together(do=lambda served: present(served.granting).issue_many, tell=_issued),
)
def issue_disclosure_token(call: Call[NothingIn, None]) -> IssueRequest:
    """Give out a disclosure token."""
    return IssueRequest(caller=call.caller, disclosure=call.path["disclosure"], proof=_shown(call))


def _revealed(call: Call[RevealIn, None], answer: RevealAnswer) -> Answer:
    receipt = answer.receipt
    return Answer(
        body=RevealOut(
            results=UNSET
            if answer.package is not None
            else [
                views.revealed(result, asked)
                for asked, result in zip(call.body.tokens, answer.results, strict=True)
            ],
            package=UNSET if answer.package is None else answer.package,
            receipt=ReceiptOut(
                entry=receipt.entry,
                grant=receipt.grant,
                ground=receipt.ground,
                clause=receipt.clause,
                at=receipt.at,
                values=receipt.values,
                recipient=receipt.recipient,
            ),
        ),
        headers=_next(answer.nonce),
    )


@GROUP.call(
    "POST",
    "/v1/reveal",
    "Reveal values against a disclosure token.",
    action=Action.REVEAL,
    body=RevealIn,
    answers={200: RevealOut},
    headers=(_TOKEN, _PROOF),
    example={"tokens": ["tok_0000000000000000000000000000"]},
    codes=("contents_are_streamed", *_REVEAL_CODES),
    rate=Rate.REVEALS,
    together=Together(
        do=lambda served: present(served.reveal).submit_many, tell=_revealed, most=CALLS
    ),
)
def reveal(call: Call[RevealIn, None]) -> RevealRequest:
    """Reveal."""
    return RevealRequest(
        caller=call.caller,
        token=call.request.headers.get("Disclosure-Token"),
        tokens=tuple(call.body.tokens),
        fields=None if call.body.fields is None else tuple(call.body.fields),
        proof=_shown(call),
    )


@GROUP.call(
    "POST",
    "/v1/reveal/content",
    "Reveal the contents of one communication against a disclosure token, as they are. Fewer bytes"
    " than `Content-Length` mean that it was broken off; the use is spent all the same.",
    action=Action.REVEAL,
    body=ContentIn,
    answers={200: None},
    media=OCTETS,
    headers=(_TOKEN, _PROOF),
    example={"token": "tok_0000000000000000000000000000"},
    codes=("contents_not_streamed", "contents_not_packed", *_REVEAL_CODES),
    rate=Rate.REVEALS,
)
def reveal_content(call: Call[ContentIn, None]) -> Answer:
    """Reveal contents."""
    answer = present(call.served.reveal).content(
        call.caller,
        disclosure_token=call.request.headers.get("Disclosure-Token"),
        token=call.body.token,
        proof=_shown(call),
    )
    receipt = answer.receipt
    return Answer(
        data=answer.pieces,
        headers={
            "Content-Length": str(answer.size),
            "Content-Disposition": "attachment",
            "Receipt-Entry": receipt.entry,
            "Receipt-Grant": receipt.grant,
            "Receipt-Ground": receipt.ground,
            "Receipt-Clause": receipt.clause,
            "Receipt-At": receipt.at.isoformat(),
            **({} if receipt.recipient is None else {"Receipt-Recipient": receipt.recipient}),
            **_next(answer.nonce),
        },
    )
