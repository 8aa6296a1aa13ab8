"""What a requester sends, and the request that the policy judges: with what it names looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from vault_service.domain import tokens
from vault_service.domain.disclosures import DisclosureRequest, Recipient, Scope
from vault_service.domain.evidence import EvidenceType, read_digest, write_digest
from vault_service.domain.grounds import Ground
from vault_service.domain.policy import Decision
from vault_service.errors import InvalidInput, Problem
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.disclosures.views import Details
from vault_service.services.evidence_ports import DocumentRow
from vault_service.services.ports import Transaction

HOLDER: Final = "holder"


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


def refusal(decision: Decision) -> PolicyRefused:
    """All that the policy finds missing."""
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


def named_in(draft: DisclosureDraft) -> tuple[str, ...]:
    """Whom and what a request names: who only asks about it has been told that it is there."""
    return (*(draft.tokens or ()), *(() if draft.customer is None else (draft.customer,)))


def draft_of(row: DisclosureRow, details: Details) -> DisclosureDraft:
    """What was sent of a request that is stored, to be judged again."""
    return DisclosureDraft(
        ground=row.ground,
        category=row.category,
        recipient_kind=row.recipient_kind,
        recipient_name=details.recipient,
        recipient=row.recipient,
        recipient_key=row.recipient_key,
        delivery=row.delivery,
        proof_of_possession=row.proof_of_possession,
        tokens=row.tokens,
        customer=row.customer,
        classes=row.classes,
        fields=row.fields,
        evidence=details.evidence,
        uses=row.uses,
        duration_seconds=int(row.duration.total_seconds()),
    )


def request_of(tx: Transaction, draft: DisclosureDraft, requester: str) -> DisclosureRequest:
    """The request as the policy judges it, with what it names looked up: records, documents.

    Raises:
        InvalidInput: a token or the customer is unknown; which of several is not told apart from
            malformed ones.
    """
    return DisclosureRequest(
        ground=draft.ground,
        category=draft.category,
        scope=_scope(tx, draft),
        recipient=Recipient(kind=draft.recipient_kind, name=draft.recipient_name),
        evidence=draft.evidence,
        documents=frozenset(_documents(tx, draft.evidence, requester)),
        uses=draft.uses,
        duration=(
            None if draft.duration_seconds is None else timedelta(seconds=draft.duration_seconds)
        ),
    )


def _scope(tx: Transaction, draft: DisclosureDraft) -> Scope:
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
    return Scope(
        tokens=draft.tokens,
        customer=draft.customer,
        classes=classes,
        fields=draft.fields,
        customers=customers,
    )


def _documents(
    tx: Transaction, evidence: Mapping[str, str], requester: str
) -> dict[str, DocumentRow]:
    """The requester's documents that his evidence names, by the digest as it stands there."""
    digests = {read_digest(value) for value in evidence.values()} - {None}
    found = tx.evidence.by_digest(requester, [digest for digest in digests if digest is not None])
    return {write_digest(digest): document for digest, document in found.items()}


def refer(tx: Transaction, row: DisclosureRow, ground: Ground, evidence: Mapping[str, str]) -> None:
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
