"""Communications: originals taken as they come, sealed chunk by chunk, and listed by their outside.

A communication is a record: token, mask, wrapped key and binding to the ledger are a record's, and
so all that is done to records is done to it. Its envelope is the header of the chunked format, and
the chunks lie beside it. The whole original is one message; attachments are parts of it.

Writing needs no right to read. The steps:

1. draw a token in the customer's bucket, and take a data key.
2. seal the original as it comes; store full batches of chunks, which nobody can see or open.
3. fingerprint what makes it the same as another.
4. one unit of work: the last chunks, the record, the ledger entry. Or it was here before, and what
   was stored of it is forgotten.

What fails, or dies, before the last commit has left chunks without a key, and housekeeping deletes
them. Contents are opened by `services.reveal` alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Final
from uuid import UUID

import structlog
from msgspec import structs

from keys import chunked
from keys.canonical import lp
from keys.data_keys import DataKey
from keys.envelope import Context
from keys.errors import ValueTooLarge
from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.classes import DataClass, rule
from vault_service.domain.communications import Envelope, Identity, sender_key
from vault_service.errors import InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import bindings
from vault_service.services.audit import Audit, new_entry_id
from vault_service.services.communication_ports import KeptRow
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import DataKeys, Fingerprinting
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.record_ports import NewRecord
from vault_service.services.record_writing import (
    FIRST_VERSION,
    FloorRaised,
    identity,
    leaf_of,
    upsert,
)
from vault_service.services.views import TokenPage, TokenView, stored_view

MAX_COMMUNICATION: Final = chunked.MAX_MESSAGE
MAX_PAGE: Final = 100
CLASS: Final = DataClass.COMMUNICATION
# Chunks of one statement: 1 MiB, of which a call holds two.
AT_ONCE: Final = 16
# A mail server's own limit for receiving what follows DATA is 10 minutes (RFC 5321, 4.5.3.2.6).
LONGEST_UPLOAD: Final = timedelta(minutes=10)
# Who ends an expired record that stands in the way of a new one: nobody asked for it.
ACTOR: Final = "communications"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """By which a message that is delivered again is known."""

    mailbox: str = field(repr=False)
    message_id: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class _Upload:
    """An original on its way in: where it goes, and the chunks that are not stored yet."""

    bucket: int
    token: str
    customer: str
    stored: int = 0
    waiting: list[bytes] = field(default_factory=list, repr=False)

    @property
    def context(self) -> Context:
        return Context(
            token=self.token,
            customer=self.customer,
            data_class=CLASS,
            record_version=FIRST_VERSION,
        )

    def store(self, tx: Transaction) -> None:
        """Store what waits.

        Raises:
            Unavailable: the upload was purged meanwhile.
        """
        if not self.stored:
            tx.communications.start(self.bucket, self.token, self.customer)
        if not tx.communications.add(self.bucket, self.token, self.stored, self.waiting):
            raise _ended()


class Communications:
    """The use case. Needs the ingest roles of database and Vault."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        data_keys: DataKeys,
        fingerprints: Fingerprinting,
        audit: Audit,
        honeytokens: Honeytokens,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uow = uow
        self._data_keys = data_keys
        self._fingerprints = fingerprints
        self._audit = audit
        self._honeytokens = honeytokens
        self._clock = clock

    # ------------------------------------------------------------ taking

    def keep(
        self,
        by: Caller | str,
        *,
        customer: str | None,
        envelope: Envelope,
        content: Iterable[bytes],
        delivery: Delivery | None = None,
    ) -> TokenView:
        """Keep an original; its view says `deduplicated` if it was here before.

        Args:
            by: who brings it; a plain text names a part of the service itself.
            customer: whose it is; None for a sender whom nobody knows, whose communications
                gather under a customer made for him, to be linked with one who is known.
            envelope: what stands on its outside.
            content: the original in pieces of any size, at most `MAX_COMMUNICATION` bytes.
            delivery: by which a second delivery is known; without it, the same original of the
                same customer is the same communication.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such customer.
            InvalidInput: it is too large, or came too slowly; whatever `content` raises, as well.
            VaultUnavailable: there is no data key, or no fingerprint.
            Unavailable: the database is; with code `commit_unknown` it may have been kept, and
                the same again finds it.
        """
        if isinstance(by, Caller):
            self._audit.require(by, Action.RECORD_ACCOUNT_DATA)
        if customer is None:
            customer = self._unassigned(by, envelope)
        upload = self._begun(customer)
        (key,) = self._data_keys.take(rule(CLASS).kek, 1)
        watched = _Watched(content, envelope.media_type, self._clock)
        kept = False
        try:
            header = self._sealed(upload, key, watched)
            row = self._row(upload, envelope, watched, delivery, header=header, key=key)
            view = self._uow.run(lambda tx: self._commit(tx, by, upload, row, watched.size))
            kept = not view.deduplicated
        except FloorRaised as floor:
            self._data_keys.discard(floor.kek)
            raise Unavailable(
                "its key was rotated meanwhile; send it again", code="data_key_retired"
            ) from None
        finally:
            if not kept:
                self._forget(upload)
        return view

    def _begun(self, customer: str) -> _Upload:
        tokens.check_customer_id(customer, pointer="/customer")
        bucket = tokens.bucket_of(customer)
        with self._uow.begin(read_only=True) as tx:
            if customer not in tx.customers.get([(bucket, customer)]):
                raise _customer_not_found()
        return _Upload(bucket=bucket, token=tokens.new_token(bucket), customer=customer)

    def _sealed(self, upload: _Upload, key: DataKey, content: Iterable[bytes]) -> bytes:
        """Seal the original and store all but its last chunks; the header."""
        sealed = chunked.seal(key, content, upload.context, limit=MAX_COMMUNICATION)
        header = next(sealed)
        try:
            upload.waiting = list(islice(sealed, AT_ONCE))
            while batch := list(islice(sealed, AT_ONCE)):
                self._uow.run(upload.store)
                upload.stored, upload.waiting = upload.stored + len(upload.waiting), batch
        except ValueTooLarge as exc:
            raise InvalidInput(
                f"a communication holds at most {MAX_COMMUNICATION} bytes",
                code="communication_too_large",
            ) from exc
        return header

    def _row(
        self,
        upload: _Upload,
        envelope: Envelope,
        watched: _Watched,
        delivery: Delivery | None,
        *,
        header: bytes,
        key: DataKey,
    ) -> NewRecord:
        named = (delivery.mailbox, delivery.message_id) if delivery else ("", "")
        same = lp("original", *named, watched.identity.finish())
        (fingerprint,) = self._fingerprints.compute([(CLASS, same)])
        return NewRecord(
            bucket=upload.bucket,
            token=upload.token,
            customer=upload.customer,
            data_class=CLASS,
            format="opaque",
            variant=envelope.direction,
            mask=envelope.mask(watched.size),
            fingerprint=fingerprint.digest,
            fingerprint_version=fingerprint.key_version,
            envelope=header,
            wrapped_key=key.wrapped,
            metadata=None,
            reference=None,
            expires_at=None,
        )

    def _commit(
        self, tx: Transaction, by: Caller | str, upload: _Upload, row: NewRecord, size: int
    ) -> TokenView:
        entry = new_entry_id()
        committed, (binding,) = bindings.bind(UUID(entry), [leaf_of(row)])
        stands, ended = upsert(tx, [structs.replace(row, binding=binding)])
        stood = stands.get(identity(row))
        if stood is None:
            raise _customer_not_found()
        now = tx.clock.now()
        for customer, gone in ended.items():
            tx.outbox.append(
                self._audit.entries(
                    Event.TOKENS_EXPIRED, ACTOR, at=now, customer=customer, tokens=gone
                )
            )
        created = stood.token == upload.token
        if created:
            upload.store(tx)
            # It is still there: the chunks just added keep their upload's row from the purge.
            tx.communications.keep(upload.bucket, upload.token, size)
        tx.outbox.append(
            self._audit.entries(
                Event.TOKENS_CREATED,
                by,
                at=now,
                entry_id=entry,
                commitments=committed if created else {},
                tokens=[stood.token],
                customer=row.customer,
                count=1,
                details={
                    "class": CLASS.value,
                    "created": int(created),
                    "deduplicated": int(not created),
                    "refused": 0,
                },
            )
        )
        return structs.replace(stored_view(stood), deduplicated=not created)

    def _forget(self, upload: _Upload) -> None:
        """Delete what was stored of an upload; if it cannot be, housekeeping will."""
        if not upload.stored:
            return
        try:
            with self._uow.begin() as tx:
                tx.communications.drop(upload.bucket, upload.token)
        except Unavailable as error:
            _log.warning("upload left to housekeeping", code=error.code)

    # ------------------------------------------------------------ of unknown senders

    def _unassigned(self, by: Caller | str, envelope: Envelope) -> str:
        """The customer under whom communications of an unknown sender gather."""
        key = sender_key(envelope.sender)
        for generation in count():
            name = lp("unassigned", key, generation)
            (fingerprint,) = self._fingerprints.compute([(CLASS, name)])
            customer = tokens.customer_id_from_fingerprint(fingerprint.digest)
            bucket = tokens.bucket_of(customer)
            with self._uow.begin() as tx:
                if tx.customers.insert([(bucket, customer, False)]):
                    tx.outbox.append(
                        self._audit.entries(
                            Event.CUSTOMER_CREATED, by, at=tx.clock.now(), customer=customer
                        )
                    )
                # Of one who was erased the name is never used again.
                if customer in tx.customers.get([(bucket, customer)]):
                    return customer
        raise AssertionError  # pragma: no cover -- `count` does not end

    # ------------------------------------------------------------ listing

    def page(self, caller: Caller, customer: str, *, cursor: str | None, limit: int) -> TokenPage:
        """A customer's communications, masked, newest first. The reading is a ledger entry.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such customer; a malformed id answers alike.
            InvalidInput: the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_ACCOUNT_DATA)
        try:
            tokens.check_customer_id(customer)
        except InvalidInput as exc:
            raise _customer_not_found() from exc
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} communications",
                code="limit_invalid",
                pointer="/limit",
            )
        before = None if cursor is None else _read_cursor(cursor)
        bucket = tokens.bucket_of(customer)
        with self._uow.begin() as tx:
            if customer not in tx.customers.get([(bucket, customer)]):
                raise _customer_not_found()
            rows = tx.communications.page(bucket, customer, before, limit + 1)
            shown = rows[:limit]
            tx.outbox.append(
                self._audit.entries(
                    Event.CUSTOMER_READ,
                    caller,
                    at=tx.clock.now(),
                    customer=customer,
                    count=len(shown),
                )
            )
        self._honeytokens.look(caller, (customer, *(row.record.token for row in shown)))
        return TokenPage(
            items=tuple(stored_view(row.record) for row in shown),
            next=_cursor(shown[-1]) if len(rows) > limit else None,
        )


class _Watched:
    """An original on its way in: counted, digested and timed, piece by piece."""

    def __init__(
        self, content: Iterable[bytes], media_type: str, clock: Callable[[], float]
    ) -> None:
        self._content = content
        self._clock = clock
        self._until = clock() + LONGEST_UPLOAD.total_seconds()
        self.identity = Identity(media_type)
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._content:
            if self._clock() > self._until:
                raise InvalidInput("this came too slowly", code="request_timeout")
            self.identity.feed(piece)
            self.size += len(piece)
            yield piece


def _cursor(row: KeptRow) -> str:
    return f"{(row.kept_at - _EPOCH) // _MICROSECOND}.{row.record.token}"


def _read_cursor(text: str) -> tuple[datetime, str]:
    at, _, token = text.partition(".")
    try:
        tokens.bucket_from_token(token)
        return _EPOCH + int(at) * _MICROSECOND, token
    except (InvalidInput, ValueError, OverflowError) as exc:
        raise InvalidInput(
            "this is not a cursor", code="cursor_invalid", pointer="/cursor"
        ) from exc


def _ended() -> Unavailable:
    return Unavailable("this upload was given up meanwhile; send it again", code="upload_ended")


def _customer_not_found() -> NotFound:
    return NotFound("there is no such customer", code="customer_not_found")
