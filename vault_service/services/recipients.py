"""Recipients as records: who may be handed data, how that was made sure, and his public key.

A recipient never changes. A disclosure that names one is bound to that very record and to the
thumbprint of its key, which the officers see before they approve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec
import structlog

from vault_service.domain import freetext, tokens
from vault_service.domain.actors import Action
from vault_service.domain.grounds import Policy
from vault_service.errors import InvalidInput, NotFound
from vault_service.ledger.entries import Event, commit, new_salt
from vault_service.services import recipient_keys
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.documents import Documents
from vault_service.services.ports import UnitOfWork
from vault_service.services.recipient_ports import NewRecipient, RecipientRow

MAX_PAGE: Final = 100
NAME_LENGTH: Final = 200
TEXT_LENGTH: Final = 2000
DETAILS: Final = "recipient-details"


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientDraft:
    """What somebody says of a recipient."""

    kind: str
    name: str = field(repr=False)
    verified: str = field(repr=False)
    contact: str = field(repr=False)
    public_key: Mapping[str, object] | None = None


class _Details(msgspec.Struct, frozen=True):
    """What is sealed of a recipient."""

    name: str
    verified: str
    contact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientView:
    """A recipient; the texts are None on a page, which opens nothing."""

    id: str
    kind: str
    created_by: str
    created_at: datetime
    thumbprint: str | None
    public_key: Mapping[str, str] | None
    name: str | None = field(repr=False)
    verified: str | None = field(repr=False)
    contact: str | None = field(repr=False)


class RecipientRecords:
    """The use case."""

    def __init__(
        self, *, uow: UnitOfWork, documents: Documents, policy: Policy, audit: Audit
    ) -> None:
        self._uow = uow
        self._documents = documents
        self._policy = policy
        self._audit = audit

    def create(self, caller: Caller, draft: RecipientDraft) -> RecipientView:
        """Make a recipient.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: a text or the key is not as it should be, or no ground serves the kind.
            VaultUnavailable: the texts could not be sealed.
        """
        self._audit.require(caller, Action.RECORD_RECIPIENT)
        if draft.kind not in self._policy.recipients:
            raise InvalidInput(
                "the policy knows no such kind of recipient",
                code="recipient_kind_unknown",
                pointer="/kind",
            )
        details = _Details(
            name=freetext.check_text(draft.name, pointer="/name", max_length=NAME_LENGTH),
            verified=_text(draft.verified, "/verified"),
            contact=_text(draft.contact, "/contact"),
        )
        key = None if draft.public_key is None else recipient_keys.parse(draft.public_key)
        recipient, salt = tokens.new_recipient_id(), new_salt()
        row = NewRecipient(
            id=recipient,
            kind=draft.kind,
            created_by=caller.principal.id,
            public_key=key.jwk if key else None,
            thumbprint=key.thumbprint if key else None,
            details=self._documents.seal(recipient, DETAILS, details),
            details_salt=salt,
        )
        told = {"recipient": row.kind, "recipient_id": row.id}
        if key is not None:
            told["recipient_key"] = key.thumbprint
        with self._uow.begin() as tx:
            stored = tx.recipients.insert(row)
            tx.outbox.append(
                self._audit.entries(
                    Event.RECIPIENT_CREATED,
                    caller,
                    at=stored.created_at,
                    commitments={"recipient": commit(msgspec.json.encode(details), salt)},
                    details=told,
                )
            )
        return _view(stored, details)

    def get(self, caller: Caller, recipient: str) -> RecipientView:
        """One recipient with its texts; who reads another's is told in the ledger.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is none.
            VaultUnavailable: the texts could not be opened.
        """
        self._audit.require(caller, Action.READ_RECIPIENTS)
        row = self._row(recipient)
        if row is None:
            raise NotFound("there is no such recipient", code="recipient_not_found")
        details = self._details(row)
        if row.created_by != caller.principal.id:
            with self._uow.begin() as tx:
                tx.outbox.append(
                    self._audit.entries(
                        Event.RECIPIENT_READ,
                        caller,
                        at=tx.clock.now(),
                        details={"recipient": row.kind, "recipient_id": row.id},
                    )
                )
        return _view(row, details)

    def page(
        self, caller: Caller, *, cursor: str | None, limit: int
    ) -> tuple[tuple[RecipientView, ...], str | None]:
        """Recipients without their texts, in the order of their ids, and the next cursor.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_RECIPIENTS)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} recipients", code="limit_invalid", pointer="/limit"
            )
        if cursor is not None:
            _check_cursor(cursor)
        with self._uow.begin(read_only=True) as tx:
            rows = tx.recipients.page(after=cursor, limit=limit + 1)
        items = tuple(_view(row, None) for row in rows[:limit])
        return items, items[-1].id if len(rows) > limit else None

    def named(self, recipient: str) -> tuple[RecipientRow, str]:
        """The recipient that a request names, and his name.

        Raises:
            InvalidInput: there is none.
            VaultUnavailable: the name could not be opened.
        """
        row = self._row(recipient)
        if row is None:
            raise InvalidInput(
                "there is no such recipient", code="recipient_not_found", pointer="/recipient/id"
            )
        return row, self._details(row).name

    def _row(self, recipient: str) -> RecipientRow | None:
        try:
            tokens.check_recipient_id(recipient)
        except InvalidInput:
            return None
        with self._uow.begin(read_only=True) as tx:
            return tx.recipients.get(recipient)

    def _details(self, row: RecipientRow) -> _Details:
        (details,) = self._documents.open(row.id, [(DETAILS, row.details)])
        return msgspec.convert(details, _Details)


def _check_cursor(cursor: str) -> None:
    try:
        tokens.check_recipient_id(cursor)
    except InvalidInput:
        raise InvalidInput(
            "this is not a cursor", code="cursor_invalid", pointer="/cursor"
        ) from None


def _text(text: str, pointer: str) -> str:
    return freetext.check_text(text, pointer=pointer, max_length=TEXT_LENGTH, multiline=True)


def _view(row: RecipientRow, details: _Details | None) -> RecipientView:
    return RecipientView(
        id=row.id,
        kind=row.kind,
        created_by=row.created_by,
        created_at=row.created_at,
        thumbprint=row.thumbprint,
        public_key=_public_key(row),
        name=details.name if details else None,
        verified=details.verified if details else None,
        contact=details.contact if details else None,
    )


def _public_key(row: RecipientRow) -> dict[str, str] | None:
    """The key as it was put on record; none where somebody changed the row."""
    if row.public_key is None:
        return None
    try:
        key = recipient_keys.stored(row.public_key)
    except InvalidInput:
        key = None
    if key is None or key.thumbprint != row.thumbprint:
        _log.error("alarm", alarm="recipient_key_changed")
        return None
    return msgspec.json.decode(key.jwk, type=dict[str, str])
