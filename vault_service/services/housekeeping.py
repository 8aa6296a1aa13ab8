"""What the worker does by itself: expired tokens, grants and stored answers come to their end.

Of communications that were erased, and of uploads that died, the chunks are deleted here.

Everything here is already without effect when it is found: reads and reveals look at the clock.
One worker is at it at a time, by a locked row; a worker that dies leaves the rest to the next.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.ports import UnitOfWork

LEASE: Final = "housekeeping"
# Seconds between rounds.
PERIOD: Final = 30.0
ACTOR: Final = "worker"
# Rows of one transaction: small enough that nobody waits for its locks.
BATCH: Final = 500
# How long a document waits for a request that refers to it; more than a long weekend.
DOCUMENT_LIFE: Final = timedelta(days=7)
# Each has up to 160 chunks that go with it.
DOCUMENTS: Final = 20
# How long an upload of a communication may be under way: far longer than any is let go on.
UPLOAD_LIFE: Final = timedelta(hours=1)
# Each has up to 401 chunks that go with it.
UPLOADS: Final = 10
# How long a message from outside is known as taken: longer than any mail server tries to deliver
# one (four to five days: RFC 5321, 4.5.4.1), and far longer than a helpdesk's signature holds.
MESSAGE_LIFE: Final = timedelta(days=14)
# How long a repeated request is recognised.
ANSWER_LIFE: Final = timedelta(hours=24)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How many of each came to an end in one round."""

    tokens: int = 0
    grants: int = 0
    answers: int = 0
    proofs: int = 0
    documents: int = 0
    changes: int = 0
    uploads: int = 0

    @property
    def more(self) -> bool:
        """Whether a kind filled its batch, so that another round is due at once."""
        full = BATCH in (self.tokens, self.grants, self.answers, self.proofs, self.changes)
        return full or self.documents == DOCUMENTS or self.uploads == UPLOADS


class Housekeeping:
    """The use case. Needs the worker's database role."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit, holder: str) -> None:
        self._uow = uow
        self._audit = audit
        self._holder = holder

    def run(self, stop: threading.Event) -> None:
        """Sweep until nothing more is due, another worker is at it, or `stop` is set.

        Raises:
            Unavailable: the database is; what was swept before stays so.
        """
        while not stop.is_set():
            swept = self.sweep()
            if swept is None:
                return
            _tell(swept)
            if not swept.more:
                return

    def sweep(self) -> Swept | None:
        """One round, in one unit of work; None while another worker is at it.

        Raises:
            Unavailable: the database is; nothing was done.
        """
        with self._uow.begin() as tx:
            if not tx.leases.hold(LEASE, self._holder):
                return None
            now = tx.clock.now()
            expired = tx.records.erase_expired(BATCH)
            tx.modifications.forget([(bucket, token) for bucket, token, _, _ in expired])
            by_customer: dict[str, list[str]] = defaultdict(list)
            for _, token, customer, _ in expired:
                by_customer[customer].append(token)
            entries = [
                row
                for customer, gone in by_customer.items()
                for row in self._audit.entries(
                    Event.TOKENS_EXPIRED, ACTOR, at=now, customer=customer, tokens=gone
                )
            ]
            ended = tx.disclosures.expire_due(BATCH)
            for grant in ended:
                entries += self._audit.entries(Event.DISCLOSURE_EXPIRED, ACTOR, at=now, grant=grant)
            documents = tx.evidence.purge(DOCUMENT_LIFE, DOCUMENTS)
            for document in documents:
                entries += self._audit.entries(
                    Event.EVIDENCE_PURGED, ACTOR, at=now, details={"document": document}
                )
            changes = tx.modifications.expire_due(BATCH)
            for change in changes:
                entries += self._audit.entries(
                    Event.MODIFICATION_EXPIRED,
                    ACTOR,
                    at=now,
                    customer=change.customer,
                    details={"modification": change.id, "source": change.source},
                )
            if entries:
                tx.outbox.append(entries)
            answers = tx.idempotency.purge(ANSWER_LIFE, BATCH)
            proofs = tx.proofs.purge(BATCH)
            uploads = tx.communications.purge(UPLOAD_LIFE, UPLOADS)
            tx.modifications.purge_messages(MESSAGE_LIFE, BATCH)
        return Swept(
            tokens=len(expired),
            grants=len(ended),
            answers=answers,
            proofs=proofs,
            documents=len(documents),
            changes=len(changes),
            uploads=len(uploads),
        )


def _tell(swept: Swept) -> None:
    count = swept.tokens + swept.grants + swept.answers + swept.documents + swept.changes
    count += swept.uploads
    if count:
        _log.info("swept", tokens=swept.tokens, grant=swept.grants, count=count)
