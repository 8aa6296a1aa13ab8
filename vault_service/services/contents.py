"""Opens what is sealed in chunks, piece by piece, each authentic before it is handed out.

Used by `services.reveal` once a use is committed. A piece is handed out when the next one has been
opened too, or the end was seen: so what is handed out is never as long as was announced unless it
is whole, and a receiver who counts notices every way of being cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from keys import chunked
from keys.envelope import Context
from keys.errors import CiphertextRejected
from keys.secret import Secret
from vault_service.errors import NotFound, Unavailable
from vault_service.services.ports import UnitOfWork
from vault_service.services.record_ports import SealedRecord

# Chunks of one statement: 1 MiB.
AT_ONCE: Final = 16
# A receiver who takes longer for 25 MiB holds a place that others need.
LONGEST: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a record has in chunks, sealed so far."""

    uow: UnitOfWork
    record: SealedRecord
    key: Secret = field(repr=False)
    clock: Callable[[], float] = time.monotonic

    def size(self) -> int:
        """How many bytes it has.

        Raises:
            NotFound: it is gone.
        """
        with self.uow.begin(read_only=True) as tx:
            size = tx.communications.size(self.record.bucket, self.record.token)
        if size is None:
            raise _gone()
        return size

    def pieces(self, size: int) -> Iterator[bytes]:
        """Its bytes, exactly as many as `size` says.

        Raises:
            CiphertextRejected: it does not open, or has another size.
            NotFound: it was erased meanwhile.
            Unavailable: the database is, or the receiver is too slow.
        """
        until = self.clock() + LONGEST.total_seconds()
        opened = chunked.open_(self.key, self._sealed(), self._context())
        try:
            for piece in _exactly(opened, size):
                yield piece
                if self.clock() > until:
                    raise Unavailable("the receiver is too slow", code="request_timeout")
        except CiphertextRejected:
            if self._is_gone():
                raise _gone() from None
            raise

    def _sealed(self) -> Iterator[bytes]:
        yield self.record.envelope
        number = 0
        while True:
            with self.uow.begin(read_only=True) as tx:
                chunks = tx.communications.chunks(
                    self.record.bucket, self.record.token, number, AT_ONCE
                )
            if not chunks:
                return
            yield from chunks
            number += AT_ONCE

    def _context(self) -> Context:
        return Context(
            token=self.record.token,
            customer=self.record.customer,
            data_class=self.record.data_class,
            record_version=self.record.version,
        )

    def _is_gone(self) -> bool:
        with self.uow.begin(read_only=True) as tx:
            return not tx.records.masked([(self.record.bucket, self.record.token)])


def _exactly(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Pieces that have so many bytes together; the last ones are kept back until that is sure."""
    held = b""
    left = size
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise CiphertextRejected
        if held:
            yield held
        held = piece
    if left:
        raise CiphertextRejected
    yield held


def _gone() -> NotFound:
    return NotFound("it was erased meanwhile", code="token_not_found")
