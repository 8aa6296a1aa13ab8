"""Documents of evidence: taken, sealed in chunks, and handed to those who may read them.

A requester uploads a document and then names its digest in a request. From then on it belongs to
the request, and is read by way of it: by its requester, by officers while there is something to
decide on, and by an auditor to whom an officer has opened the evidence of that one request for a
time. Each reading by anybody but the requester is an entry of the ledger, written before the
document is handed out.

A document is never held in plain as a whole while it comes in, and its content is judged before
any of it is kept. What no request refers to is deleted by `services.housekeeping`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from keys import chunked
from keys.envelope import Context
from keys.errors import CiphertextRejected, ValueTooLarge
from vault_service.domain import tokens
from vault_service.domain.actors import Action, Role
from vault_service.domain.disclosures import DECIDABLE
from vault_service.domain.evidence import read_digest, write_digest
from vault_service.domain.media import Recogniser
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event, commit, new_salt
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import DataKeys, Unwrapping
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.disclosures.rows import found, state_now, unknown
from vault_service.services.disclosures.views import open_details
from vault_service.services.documents import KEK, Documents, DocumentUnreadable
from vault_service.services.evidence_ports import AccessRow, DocumentRow, NewDocument
from vault_service.services.ports import Transaction, UnitOfWork

# Larger than any order or report that a court sends, small enough to be kept in a row's chunks.
MAX_DOCUMENT: Final = 10 * 1024 * 1024
# What a requester may have lying about unused: 200 MiB at the most.
MAX_WAITING: Final = 20
# An audit of a case takes days; what takes longer is opened again, by an officer who says so.
LONGEST_ACCESS: Final = timedelta(days=7)
CONTENT: Final = "evidence-document"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedDocument:
    """A document that was taken; `digest` is what a request names it by."""

    id: str
    digest: str
    media_type: str
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDocument:
    """A document's content, and what it is by its content."""

    digest: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """The evidence of one request."""

    disclosure: str
    ground: str
    clause: str
    evidence: Mapping[str, str] = field(repr=False)


class EvidenceDocuments:
    """The use case."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        data_keys: DataKeys,
        unwrapping: Unwrapping,
        documents: Documents,
        audit: Audit,
    ) -> None:
        self._uow = uow
        self._data_keys = data_keys
        self._unwrapping = unwrapping
        self._documents = documents
        self._audit = audit

    # ------------------------------------------------------------ taking

    def upload(self, caller: Caller, content: Iterable[bytes]) -> UploadedDocument:
        """Take a document; its pieces are sealed as they come, and stored when all have come.

        Who uploads the same document again gets the one that is there, which then waits anew.

        Raises:
            Forbidden: the caller may not request disclosures.
            Conflict: too many of his documents wait for a request.
            InvalidInput: it is empty, too large, or of no kind that is taken.
            VaultUnavailable: there is no data key.
        """
        self._audit.require(caller, Action.UPLOAD_EVIDENCE)
        with self._uow.begin(read_only=True) as tx:
            _check_waiting(tx, caller)
        (key,) = self._data_keys.take(KEK, 1)
        bucket, document = tokens.new_document_id()
        watched = _Watched(content)
        try:
            sealed = list(chunked.seal(key, watched, _context(document), limit=MAX_DOCUMENT))
        except ValueTooLarge as exc:
            raise InvalidInput(
                f"a document holds at most {MAX_DOCUMENT} bytes", code="document_too_large"
            ) from exc
        media_type = watched.recogniser.finish()
        digest, salt = watched.digest.digest(), new_salt()
        row = NewDocument(
            bucket=bucket,
            id=document,
            uploaded_by=caller.principal.id,
            digest=digest,
            salt=salt,
            size=watched.size,
            media_type=media_type,
            wrapped_key=key.wrapped,
            sealed=sealed,
        )
        with self._uow.begin() as tx:
            known = tx.evidence.by_digest(caller.principal.id, [digest]).get(digest)
            created_at = None if known is None else tx.evidence.again(known)
            if known is not None and created_at is not None:
                document = known.id
            else:
                # Asked again, where the upload took its time; two at once may still pass by one.
                _check_waiting(tx, caller)
                created_at = tx.evidence.insert(row)
            tx.outbox.append(
                self._audit.entries(
                    Event.EVIDENCE_UPLOADED,
                    caller,
                    at=created_at,
                    commitments={"document": commit(digest, salt)},
                    details={"document": document, "media_type": media_type, "size": row.size},
                )
            )
        return UploadedDocument(
            id=document,
            digest=write_digest(digest),
            media_type=media_type,
            size=row.size,
            created_at=created_at,
        )

    # ------------------------------------------------------------ reading

    def read(self, caller: Caller, disclosure: str, name: str) -> ReadDocument:
        """The document that a request shows as one piece of its evidence.

        Raises:
            Forbidden: the caller has no role for it, or nothing is left to decide on.
            NotFound: there is no such request that the caller may know of, or no such document.
            DocumentUnreadable: it was changed or exchanged since it was uploaded.
            VaultUnavailable: its key could not be opened.
        """
        self._audit.require(caller, Action.READ_EVIDENCE)
        row = self._readable(caller, disclosure)
        with self._uow.begin(read_only=True) as tx:
            document = tx.evidence.referred(row.bucket, row.id, name)
            sealed = [] if document is None else tx.evidence.content(document.bucket, document.id)
        if document is None:
            raise NotFound("this evidence is no document", code="document_not_found")
        promised = read_digest(open_details(self._documents, row).evidence.get(name, ""))
        content = self._opened(document, sealed)
        # Two rows lead from the request to its content; the sealed evidence says whether they do.
        if hashlib.sha256(content).digest() != promised:
            raise DocumentUnreadable("this is not the document that was shown as evidence")
        self._tell_reading(caller, row, document.id)
        return ReadDocument(
            digest=write_digest(document.digest), media_type=document.media_type, content=content
        )

    def evidence(self, caller: Caller, disclosure: str) -> EvidenceView:
        """What a request shows as evidence.

        Raises:
            Forbidden, NotFound: as `read`.
            VaultUnavailable: it could not be opened.
        """
        self._audit.require(caller, Action.READ_EVIDENCE)
        row = self._readable(caller, disclosure)
        shown = open_details(self._documents, row).evidence
        self._tell_reading(caller, row)
        return EvidenceView(disclosure=row.id, ground=row.ground, clause=row.clause, evidence=shown)

    def _readable(self, caller: Caller, disclosure: str) -> DisclosureRow:
        """A request whose evidence the caller may read.

        Raises:
            Forbidden: an officer has nothing to decide on any more; code `evidence_closed`.
            NotFound: there is none that the caller may know of.
        """
        who = caller.principal
        with self._uow.begin(read_only=True) as tx:
            row = found(tx, disclosure)
            if row.requester == who.id:
                return row
            if Role.OFFICER in who.roles:
                if state_now(row) not in DECIDABLE:
                    raise Forbidden(
                        "there is nothing to decide on, so its evidence is closed",
                        code="evidence_closed",
                    )
                return row
            if (
                Role.AUDITOR in who.roles
                and tx.evidence.access(row.bucket, row.id, who.id) is not None
            ):
                return row
        raise unknown()

    def _opened(self, document: DocumentRow, sealed: list[bytes]) -> bytes:
        (key,) = self._unwrapping.unwrap([document.wrapped_key])
        if isinstance(key, CiphertextRejected):
            raise DocumentUnreadable("a document of this disclosure does not open") from key
        try:
            return b"".join(chunked.open_(key, sealed, _context(document.id)))
        except CiphertextRejected as exc:
            raise DocumentUnreadable("a document of this disclosure does not open") from exc

    def _tell_reading(
        self, caller: Caller, row: DisclosureRow, document: str | None = None
    ) -> None:
        if row.requester == caller.principal.id:
            return
        with self._uow.begin() as tx:
            tx.outbox.append(
                self._audit.entries(
                    Event.DISCLOSURE_EVIDENCE_READ,
                    caller,
                    at=tx.clock.now(),
                    grant=row,
                    details=None if document is None else {"document": document},
                )
            )

    # ------------------------------------------------------------ auditors

    def open_to(
        self, caller: Caller, disclosure: str, *, auditor: str, life: timedelta
    ) -> AccessRow:
        """Let an auditor read the evidence of one request for a time.

        Raises:
            Forbidden: the caller is no officer.
            NotFound: there is no such request.
            InvalidInput: there is no such auditor, or the time is too long.
        """
        self._audit.require(caller, Action.OPEN_EVIDENCE)
        if not timedelta(0) < life <= LONGEST_ACCESS:
            raise InvalidInput(
                f"evidence is opened for at most {int(LONGEST_ACCESS.total_seconds())} seconds",
                code="duration_not_allowed",
                pointer="/seconds",
            )
        with self._uow.begin() as tx:
            row = found(tx, disclosure)
            principal = tx.principals.get(auditor)
            if principal is None or Role.AUDITOR not in principal.roles:
                raise InvalidInput(
                    "there is no such auditor", code="auditor_not_found", pointer="/auditor"
                )
            access = tx.evidence.allow(
                row.bucket, row.id, auditor=auditor, officer=caller.principal.id, life=life
            )
            tx.outbox.append(
                self._audit.entries(
                    Event.EVIDENCE_OPENED,
                    caller,
                    at=access.granted_at,
                    grant=row,
                    principal=auditor,
                    details={"expires_at": int(access.expires_at.timestamp())},
                )
            )
        return access

    def close_to(self, caller: Caller, disclosure: str, *, auditor: str) -> None:
        """Take an auditor's access back; acts on the next request.

        Raises:
            Forbidden: the caller is no officer.
            NotFound: there is no such request.
            Conflict: the auditor had no access.
        """
        self._audit.require(caller, Action.OPEN_EVIDENCE)
        with self._uow.begin() as tx:
            row = found(tx, disclosure)
            if not tx.evidence.disallow(row.bucket, row.id, auditor):
                raise Conflict(
                    "this auditor may not read this evidence anyway", code="evidence_not_open"
                )
            tx.outbox.append(
                self._audit.entries(
                    Event.EVIDENCE_CLOSED,
                    caller,
                    at=tx.clock.now(),
                    grant=row,
                    principal=auditor,
                )
            )


class _Watched:
    """A document on its way in: counted, digested and looked at, piece by piece."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = content
        self.digest = hashlib.sha256()
        self.recogniser = Recogniser()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._content:
            self.digest.update(piece)
            self.recogniser.feed(piece)
            self.size += len(piece)
            yield piece


def _check_waiting(tx: Transaction, caller: Caller) -> None:
    if tx.evidence.waiting(caller.principal.id) >= MAX_WAITING:
        raise Conflict(
            f"{MAX_WAITING} of your documents wait for a request that refers to them",
            code="documents_waiting",
            hint="name them in a request; what nobody refers to is deleted after some days",
        )


def _context(document: str) -> Context:
    return Context(token=document, customer="", data_class=CONTENT, record_version=_VERSION)
