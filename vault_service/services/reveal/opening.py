"""Step 5: values are opened, once their use is committed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import structlog

from keys.envelope import Context, open_
from keys.errors import CiphertextRejected
from keys.secret import Secret
from vault_service.domain.classes import DataClass
from vault_service.domain.values import select_fields
from vault_service.errors import DisclosureRefused, NotFound, ServiceError, Unavailable, outcome
from vault_service.services.alarms import Alarms
from vault_service.services.contents import Contents
from vault_service.services.context import Caller
from vault_service.services.packages import packed
from vault_service.services.ports import UnitOfWork
from vault_service.services.record_ports import SealedRecord
from vault_service.services.reveal.work import (
    ValueUnreadable,
    Work,
    substituted,
    unreadable,
)
from vault_service.services.token_claims import PACKAGE
from vault_service.services.views import Receipt, RevealAnswer, Revealed

_log = structlog.get_logger(__name__)


class Opening:
    """Opens values, and puts answers together. Thread-safe.

    Args:
        uow: the database, for contents that are read while they are sent.
        alarms: of values that do not open.
    """

    def __init__(self, *, uow: UnitOfWork, alarms: Alarms) -> None:
        self._uow = uow
        self._alarms = alarms

    def answer(self, work: Work, now: datetime) -> RevealAnswer | Exception:
        """What a call is answered. The uses of all are spent: what fails here fails one alone."""
        try:
            return self._open(work, now)
        except Exception as error:  # noqa: BLE001 -- raised again in whose call it is
            return outcome(error)

    def pieces(self, caller: Caller, token: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces of what is opened while it is sent; an alarm where they do not open.

        Raises:
            ValueUnreadable: they do not.
        """
        try:
            yield from pieces
        except CiphertextRejected:
            self._alarms.raise_now(ValueUnreadable.code, caller, tokens=[token])
            raise unreadable() from None

    def _open(self, work: Work, now: datetime) -> RevealAnswer | Exception:
        grant = work.grant
        if grant is None or work.granted is None:  # nothing is opened without a committed use
            return Unavailable("the use was not committed", code="internal_error")
        results = [self._result(work, token) for token in work.asked.tokens]
        broken = [
            token
            for token, result in zip(work.asked.tokens, results, strict=True)
            if isinstance(result, ValueUnreadable)
        ]
        if broken:
            self._alarms.raise_now(
                ValueUnreadable.code, work.asked.caller, tokens=broken, grant=grant
            )
        receipt = Receipt(
            entry=work.entry,
            grant=grant.id,
            ground=grant.ground,
            clause=grant.clause,
            at=now,
            values=sum(isinstance(result, Revealed) for result in results),
            recipient=grant.recipient,
        )
        nonce = work.proof.nonce if work.proof else None
        if grant.delivery != PACKAGE:
            return RevealAnswer(results=tuple(results), receipt=receipt, nonce=nonce)
        if work.seals_for is None:  # nothing of a package leaves in plain
            return Unavailable("there is no key to seal with", code="internal_error")
        package = packed(work.seals_for, zip(work.asked.tokens, results, strict=True), receipt)
        return RevealAnswer(results=(), receipt=receipt, package=package, nonce=nonce)

    def _result(self, work: Work, token: str) -> Revealed | ServiceError:
        try:
            return self._contents(work, token) if work.asked.streamed else self._value(work, token)
        except Exception as error:  # noqa: BLE001 -- one value's, whatever is wrong with its row
            _log.error("a value failed to open", exc_info=error)
            return unreadable()

    def _contents(self, work: Work, token: str) -> Revealed | ServiceError:
        """What opens a communication when it is sent; there is one, or the call was refused."""
        record, key = work.records[token], work.keys.get(token)
        if key is None:
            return unreadable()
        if token in work.substituted:
            return substituted()
        contents = Contents(uow=self._uow, record=record, key=key)
        return Revealed(id=token, data_class=record.data_class, value=contents)

    def _value(self, work: Work, token: str) -> Revealed | ServiceError:
        record = work.records.get(token)
        if record is None:
            return NotFound("there is no such token", code="token_not_found")
        try:
            plain = _plain(record, work.keys.get(token))
        except CiphertextRejected:
            # Somebody changed the row, or Vault's key is not the one that wrapped it.
            return unreadable()
        if token in work.substituted:
            return substituted()
        data_class = DataClass(record.data_class)
        try:
            value = select_fields(data_class, plain, work.told(data_class))
        except DisclosureRefused as refusal:
            return refusal
        if isinstance(value, list) and len(value) != record.values:
            # Somebody changed the row, so that fewer are counted against limits and budgets.
            return ValueUnreadable("this value is not what its row says")
        return Revealed(id=token, data_class=record.data_class, value=value)


def _plain(record: SealedRecord, key: Secret | None) -> bytes:
    """The value of a record, its context rebuilt from the row's own columns.

    Raises:
        CiphertextRejected: the key did not unwrap, or the envelope does not open.
    """
    if key is None:
        raise CiphertextRejected
    context = Context(
        token=record.token,
        customer=record.customer,
        data_class=record.data_class,
        record_version=record.version,
    )
    return open_(key, record.envelope, context)
