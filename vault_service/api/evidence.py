"""Calls on evidence: documents go in, and come back to those who may read them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered
from vault_service.domain.actors import Action
from vault_service.services.evidence import LONGEST_ACCESS, MAX_DOCUMENT
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("evidence", ProcessRole.CONSOLE)

# Whatever a document is: no browser shows it, and no program is started for it.
OCTETS: Final = "application/octet-stream"
_CODES: Final = ("disclosure_not_found", "evidence_closed")
_DAY: Final = 86_400
_LONGEST: Final = int(LONGEST_ACCESS.total_seconds())
_AUDITOR: Final = "prn_00000000000000000000000000"


class DocumentOut(Answered, frozen=True):
    """A document that was taken; a request names its digest as evidence."""

    id: str
    digest: str
    media_type: str
    size: int
    created_at: datetime


class EvidenceOut(Answered, frozen=True):
    """What a request shows as evidence."""

    disclosure: str
    ground: str
    clause: str
    evidence: dict[str, str]


class AccessIn(Accepted, frozen=True):
    """Which auditor may read the evidence of a request, and for how long."""

    auditor: Annotated[str, Meta(description="A principal, `prn_…`.", max_length=64)]
    seconds: Annotated[int, Meta(ge=1, le=_LONGEST)] = _DAY


class AccessEndIn(Accepted, frozen=True):
    """Which auditor may not read it any more."""

    auditor: Annotated[str, Meta(description="A principal, `prn_…`.", max_length=64)]


class AccessOut(Answered, frozen=True):
    """An auditor's access to the evidence of one request."""

    disclosure: str
    auditor: str
    officer: str
    granted_at: datetime
    expires_at: datetime


@GROUP.call(
    "POST",
    "/v1/documents",
    "Upload a document that a request will show as evidence.",
    action=Action.UPLOAD_EVIDENCE,
    takes=MAX_DOCUMENT,
    answers={201: DocumentOut},
    codes=("document_type_unknown", "documents_waiting", "body_too_large"),
)
def upload_document(call: Call[None, None]) -> Answer:
    """Upload a document."""
    taken = present(call.served.evidence).upload(call.caller, call.pieces)
    return Answer(
        body=DocumentOut(
            id=taken.id,
            digest=taken.digest,
            media_type=taken.media_type,
            size=taken.size,
            created_at=taken.created_at,
        ),
        status=201,
    )


@GROUP.call(
    "GET",
    "/v1/disclosures/{disclosure}/documents/{evidence}",
    "Read a document that a request shows as evidence; `Document-Type` says what it is.",
    action=Action.READ_EVIDENCE,
    answers={200: None},
    media=OCTETS,
    codes=(*_CODES, "document_not_found"),
)
def read_document(call: Call[None, None]) -> Answer:
    """Read a document."""
    document = present(call.served.evidence).read(
        call.caller, call.path["disclosure"], call.path["evidence"]
    )
    return Answer(
        data=document.content,
        headers={
            "Content-Disposition": "attachment",
            "Document-Type": document.media_type,
            "Document-Digest": document.digest,
        },
    )


@GROUP.call(
    "GET",
    "/v1/disclosures/{disclosure}/evidence",
    "Read what a request shows as evidence.",
    action=Action.READ_EVIDENCE,
    answers={200: EvidenceOut},
    codes=_CODES,
)
def read_evidence(call: Call[None, None]) -> Answer:
    """Read evidence."""
    shown = present(call.served.evidence).evidence(call.caller, call.path["disclosure"])
    return Answer(
        body=EvidenceOut(
            disclosure=shown.disclosure,
            ground=shown.ground,
            clause=shown.clause,
            evidence=dict(shown.evidence),
        )
    )


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/evidence/open",
    "Let an auditor read the evidence of a request for a time.",
    action=Action.OPEN_EVIDENCE,
    body=AccessIn,
    answers={200: AccessOut},
    example={"auditor": _AUDITOR, "seconds": _DAY},
    codes=("disclosure_not_found", "auditor_not_found"),
)
def open_evidence(call: Call[AccessIn, None]) -> Answer:
    """Open evidence to an auditor."""
    access = present(call.served.evidence).open_to(
        call.caller,
        call.path["disclosure"],
        auditor=call.body.auditor,
        life=timedelta(seconds=call.body.seconds),
    )
    return Answer(
        body=AccessOut(
            disclosure=access.disclosure,
            auditor=access.auditor,
            officer=access.officer,
            granted_at=access.granted_at,
            expires_at=access.expires_at,
        )
    )


@GROUP.call(
    "POST",
    "/v1/disclosures/{disclosure}/evidence/close",
    "Take an auditor's access to evidence back.",
    action=Action.OPEN_EVIDENCE,
    body=AccessEndIn,
    answers={204: None},
    example={"auditor": _AUDITOR},
    codes=("disclosure_not_found", "evidence_not_open"),
)
def close_evidence(call: Call[AccessEndIn, None]) -> Answer:
    """Close evidence to an auditor."""
    present(call.served.evidence).close_to(
        call.caller, call.path["disclosure"], auditor=call.body.auditor
    )
    return Answer()
