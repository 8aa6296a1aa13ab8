"""Legal holds: what must be kept is not erased, by nobody, until another officer lifts the hold.

A hold is on a customer, with all that he has now and gets later, or on some of his records. It is
placed by one officer, because keeping can be undone, and released by another one, because what is
erased then is gone. It ends by itself where it was given an end. Values stay as readable as they
were: an expired record under a hold is kept and is not shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from vault_service.domain import freetext
from vault_service.domain import tokens as names
from vault_service.domain.actors import Action
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event, commit, new_salt
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import Sealed
from vault_service.services.documents import Documents
from vault_service.services.hold_ports import HoldRow, NewHold
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import Transaction, UnitOfWork

MAX_PAGE: Final = 100
MAX_TOKENS: Final = 1000
REASON_LENGTH: Final = 2000
REFERENCE_LENGTH: Final = 200
DETAILS: Final = "hold-details"
RELEASE: Final = "hold-release"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDraft:
    """What an officer says of a hold.

    Attributes:
        customer: whose data are held.
        tokens: which of his records; None for all that he has, now and later.
        reason: why, in words; sealed.
        reference: the court's or the company's own reference; sealed.
        until: when it ends by itself; None where somebody must end it.
    """

    customer: str
    tokens: tuple[str, ...] | None = None
    reason: str = field(repr=False)
    reference: str = field(repr=False)
    until: datetime | None = None


class _Details(msgspec.Struct, frozen=True):
    """What is sealed of a hold."""

    reason: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldView:
    """A hold; the texts are None on a page, which opens nothing.

    `state` is `standing`, `ended` (its time has passed) or `released`.
    """

    id: str
    state: str
    customer: str
    tokens: tuple[str, ...] | None
    placed_by: str
    placed_at: datetime
    until: datetime | None
    released_by: str | None
    released_at: datetime | None
    reason: str | None = field(repr=False)
    reference: str | None = field(repr=False)
    release_reason: str | None = field(repr=False)


class LegalHolds:
    """The use case."""

    def __init__(
        self, *, uow: UnitOfWork, documents: Documents, audit: Audit, honeytokens: Honeytokens
    ) -> None:
        self._uow = uow
        self._documents = documents
        self._audit = audit
        self._honeytokens = honeytokens

    def place(self, caller: Caller, draft: HoldDraft) -> HoldView:
        """Place a hold; it keeps what no erasure has committed by then.

        Raises:
            Forbidden: the caller is no officer.
            InvalidInput: a text or the end is not as it should be, or a token is none of his.
            NotFound: there is no such customer, or he is erased.
            VaultUnavailable: the texts could not be sealed.
        """
        self._audit.require(caller, Action.PLACE_HOLD)
        _check_tokens(draft.tokens)
        details = _Details(
            reason=_reason(draft.reason),
            reference=freetext.check_text(
                draft.reference, pointer="/reference", max_length=REFERENCE_LENGTH
            ),
        )
        bucket = _bucket_of(draft.customer)
        self._honeytokens.look(caller, (draft.customer, *(draft.tokens or ())))
        hold, salt = names.new_hold_id(bucket), new_salt()
        row = NewHold(
            bucket=bucket,
            id=hold,
            customer=draft.customer,
            tokens=draft.tokens,
            placed_by=caller.principal.id,
            until=draft.until,
            details=self._documents.seal(hold, DETAILS, details),
            details_salt=salt,
        )
        commitment = commit(msgspec.json.encode(details), salt)

        def work(tx: Transaction) -> HoldRow:
            return self._place(tx, caller, row, commitment)

        return _view(self._uow.run(work), details, None)

    def _place(self, tx: Transaction, caller: Caller, row: NewHold, commitment: str) -> HoldRow:
        now = tx.clock.now()
        if row.until is not None and row.until <= now:
            raise InvalidInput(
                "the hold would have ended already", code="expires_at_in_past", pointer="/until"
            )
        if row.customer not in tx.customers.get([(row.bucket, row.customer)]):
            raise _customer_not_found()
        stored = tx.holds.insert(row)
        # From here on he is locked: what is found now is what is held.
        if not tx.holds.settle(row.bucket, row.customer):
            raise _customer_not_found()
        if row.tokens is not None:
            found = tx.records.standing([(row.bucket, token) for token in row.tokens])
            if any(found.get(token) != row.customer for token in row.tokens):
                raise InvalidInput(
                    "a token is not one of this customer's",
                    code="hold_token_unknown",
                    pointer="/tokens",
                )
        told = {"hold": row.id}
        if row.until is not None:
            told["until"] = row.until.isoformat()
        tx.outbox.append(
            self._audit.entries(
                Event.HOLD_PLACED,
                caller,
                at=now,
                customer=row.customer,
                tokens=row.tokens or (),
                commitments={"hold": commitment},
                details=told,
            )
        )
        return stored

    def release(self, caller: Caller, hold: str, reason: str) -> HoldView:
        """Release a hold that another officer placed; what it kept can be erased from then on.

        Raises:
            Forbidden: the caller is no officer, or placed it himself.
            InvalidInput: the reason is not as it should be.
            NotFound: there is no such hold.
            Conflict: it was released already.
            VaultUnavailable: the reason could not be sealed.
        """
        self._audit.require(caller, Action.RELEASE_HOLD)
        text = _reason(reason)
        bucket = _bucket(hold)
        sealed = self._documents.seal(hold, RELEASE, text)

        def work(tx: Transaction) -> HoldRow:
            return self._release(tx, caller, bucket, hold, sealed)

        return _view(self._uow.run(work), None, text)

    def _release(
        self, tx: Transaction, caller: Caller, bucket: int, hold: str, sealed: Sealed
    ) -> HoldRow:
        by = caller.principal.id
        released = tx.holds.release(bucket, hold, by=by, reason=sealed)
        if released is None:
            row = tx.holds.get(bucket, hold)
            if row is None:
                raise _not_found()
            if row.released_at is not None:
                raise Conflict("this hold was released already", code="hold_released")
            raise Forbidden("a hold is released by another officer than placed it", code="own_hold")
        tx.holds.settle(bucket, released.customer)
        tx.outbox.append(
            self._audit.entries(
                Event.HOLD_RELEASED,
                caller,
                at=released.now,
                customer=released.customer,
                details={"hold": hold},
            )
        )
        return released

    def get(self, caller: Caller, hold: str) -> HoldView:
        """One hold with its texts.

        Raises:
            Forbidden: the caller is no officer.
            NotFound: there is none.
            VaultUnavailable: the texts could not be opened.
        """
        self._audit.require(caller, Action.READ_HOLD)
        bucket = _bucket(hold)
        with self._uow.begin(read_only=True) as tx:
            row = tx.holds.get(bucket, hold)
        if row is None:
            raise _not_found()
        sealed = [(DETAILS, row.details)]
        if row.release is not None:
            sealed.append((RELEASE, row.release))
        details, *release = self._documents.open(hold, sealed)
        return _view(
            row,
            msgspec.convert(details, _Details),
            msgspec.convert(release[0], str) if release else None,
        )

    def page(
        self, caller: Caller, *, customer: str | None, cursor: str | None, limit: int
    ) -> tuple[tuple[HoldView, ...], str | None]:
        """Holds without their texts, and the next cursor.

        Raises:
            Forbidden: the caller is neither officer nor auditor.
            InvalidInput: the customer, the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_HOLDS)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} holds", code="limit_invalid", pointer="/limit"
            )
        after = None if cursor is None else (_cursor(cursor), cursor)
        whose = None
        if customer is not None:
            names.check_customer_id(customer, pointer="/customer")
            # Who names a customer; a page of all must not cost its readers their keys.
            self._honeytokens.look(caller, (customer,))
            whose = (names.bucket_of(customer), customer)
        with self._uow.begin(read_only=True) as tx:
            rows = tx.holds.page(whose, after, limit + 1)
        items = tuple(_view(row, None, None) for row in rows[:limit])
        return items, items[-1].id if len(rows) > limit else None


def _check_tokens(tokens: tuple[str, ...] | None) -> None:
    if tokens is None:
        return
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise InvalidInput(
            f"1 to {MAX_TOKENS} tokens, or none for all of the customer's",
            code="batch_size",
            pointer="/tokens",
        )
    if len(set(tokens)) != len(tokens):
        raise InvalidInput("a token stands twice", code="tokens_repeat", pointer="/tokens")
    for place, token in enumerate(tokens):
        # So that a card number sent by mistake goes no further.
        names.bucket_from_token(token, pointer=f"/tokens/{place}")


def _bucket_of(customer: str) -> int:
    try:
        names.check_customer_id(customer)
    except InvalidInput:
        raise _customer_not_found() from None
    return names.bucket_of(customer)


def _bucket(hold: str) -> int:
    try:
        return names.bucket_from_hold_id(hold)
    except InvalidInput:
        raise _not_found() from None


def _cursor(cursor: str) -> int:
    try:
        return names.bucket_from_hold_id(cursor)
    except InvalidInput:
        raise InvalidInput(
            "this is not a cursor", code="cursor_invalid", pointer="/cursor"
        ) from None


def _reason(text: str) -> str:
    return freetext.check_text(text, pointer="/reason", max_length=REASON_LENGTH, multiline=True)


def _not_found() -> NotFound:
    return NotFound("there is no such hold", code="hold_not_found")


def _customer_not_found() -> NotFound:
    return NotFound("there is no such customer", code="customer_not_found", pointer="/customer")


def _view(row: HoldRow, details: _Details | None, release: str | None) -> HoldView:
    ended = row.until is not None and row.until <= row.now
    return HoldView(
        id=row.id,
        state="released" if row.released_at else "ended" if ended else "standing",
        customer=row.customer,
        tokens=row.tokens,
        placed_by=row.placed_by,
        placed_at=row.placed_at,
        until=row.until,
        released_by=row.released_by,
        released_at=row.released_at,
        reason=details.reason if details else None,
        reference=details.reference if details else None,
        release_reason=release,
    )
