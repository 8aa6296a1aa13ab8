"""Data keys: a pool of ready-wrapped ones for sealing, and the unwrapping of stored ones.

A data key is 32 bytes of `os.urandom`, wrapped under a KEK by Transit, and seals one message.
The pool wraps many in one request ahead of need, so a write has no Vault round trip of its own
and needs no right to decrypt. Unwrapped keys are handed to the caller and never kept here:
revocation, shredding and retirement act at once, and Vault's audit log sees every unwrapping.
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, Self

import msgspec

from keys.coalesce import Coalescer
from keys.errors import CiphertextRejected, DataKeyReused, KeysError, Outage, VaultUnavailable
from keys.secret import Secret

DATA_KEY_BYTES = 32
MAX_BATCH = 200  # fact 5: OpenBao refuses requests of more than 1,000 JSON strings
SMALLEST_REFILL = 16  # a request with 16 keys costs hardly more than one with 1
MAX_READY = 1_000  # unused plaintext keys held per KEK; also one full API batch
UNWRAP_QUEUE = 4_000  # items that may wait; at 200 per 3 ms that is 60 ms of work
UNWRAP_WAIT = 2.5  # seconds; within what the service answers in


class WrappedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A data key as stored: `ciphertext` is Transit's `vault:v3:…`, `kek_version` its 3."""

    kek: str
    kek_version: int
    ciphertext: str

    @classmethod
    def parse(cls, kek: str, ciphertext: str) -> Self:
        """Return the wrapped key that Transit answered.

        Raises:
            VaultUnavailable: the text is not what Transit writes.
        """
        head, _, rest = ciphertext.removeprefix("vault:v").partition(":")
        if not ciphertext.startswith("vault:v") or not head.isdecimal() or not rest:
            raise VaultUnavailable("vault answered in a wrong form", reason=Outage.UNREADABLE)
        return cls(kek=kek, kek_version=int(head), ciphertext=ciphertext)


class DataKey:
    """A data key that can be taken once, with its wrapped form to store."""

    __slots__ = ("_slot", "wrapped")

    def __init__(self, plaintext: Secret, wrapped: WrappedKey) -> None:
        self._slot = [plaintext]
        self.wrapped = wrapped

    def take(self) -> Secret:
        """Return the key, the first time.

        Raises:
            DataKeyReused: it was taken before.
        """
        try:
            # list.pop is one atomic step, so of two racing threads exactly one gets the key.
            return self._slot.pop()
        except IndexError:
            raise DataKeyReused("a data key seals exactly one message") from None

    def __repr__(self) -> str:
        return f"DataKey(kek={self.wrapped.kek!r}, version={self.wrapped.kek_version})"


class Wrapper(Protocol):
    """What the pool needs of Vault: encrypt and nothing else."""

    def encrypt(self, key: str, plaintexts: Sequence[Secret]) -> list[str]:
        """Return the wrapped form of each plaintext under the newest version of `key`."""
        ...


@dataclass(slots=True)
class _Refill:
    """One request under way, and what became of it, for those who wait for it."""

    error: KeysError | None = None


@dataclass(slots=True)
class _Shelf:
    """The ready keys of one KEK. Everything here is touched under `changed` only."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    ready: deque[tuple[float, DataKey]] = field(default_factory=deque)
    refill: _Refill | None = None
    epoch: int = 0  # counts discards, so that a refill begun before one is thrown away
    wanted: int = 0  # keys that waiting callers still need
    size: int = SMALLEST_REFILL  # of the next refill
    used_up: bool = False  # whether the last refill was used before its age
    version: int = 0  # the newest KEK version seen
    ahead: int | None = None  # how many keys the one preparation that waits is to see to


class DataKeyPool:
    """Ready-wrapped data keys per KEK; thread-safe.

    Args:
        wrapper: Transit with the right to encrypt.
        batch: how many keys a refill prepares ahead of need at most.
        max_age: seconds after which an unused key is dropped, so that a rotation elsewhere
            is followed within that time.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        wrapper: Wrapper,
        *,
        batch: int = MAX_BATCH,
        max_age: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wrapper = wrapper
        self._batch = min(batch, MAX_READY)
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="data-keys")

    def prepare(self, kek: str, count: int) -> None:
        """Have Vault wrap, aside, what a `take` of so many will lack; returns at once.

        What nobody takes then waits in the pool as any other. Whoever takes meanwhile waits for
        it, and is told where it failed.

        However many ask, one preparation for each KEK waits for its turn, and it sees to the
        largest of them: the others lose the head start alone, for whoever finds too few keys when
        he takes has them wrapped himself, and for all who wait with him.
        """
        shelf = self._shelf(kek)
        with shelf.changed:
            waits = shelf.ahead is not None
            shelf.ahead = max(shelf.ahead or 0, min(count, MAX_READY))
        if waits:
            return
        try:
            self._ahead.submit(self._prepare, kek)
        except RuntimeError:  # no thread can be started, or the process ends
            with shelf.changed:
                shelf.ahead = None

    def take(self, kek: str, count: int) -> list[DataKey]:
        """Return `count` data keys that nobody else gets.

        Raises:
            VaultUnavailable: the pool is empty and Vault cannot wrap; and Vault's other errors.
            ValueError: a negative count.
        """
        if count < 0:
            raise ValueError("a count is not negative")
        shelf = self._shelf(kek)
        while True:
            with shelf.changed:
                taken = self._take_ready(shelf, count)
                if taken is not None:
                    return taken
                refill = shelf.refill
                if refill is not None:
                    self._wait(shelf, refill, count)
                    continue
                refill = shelf.refill = _Refill()
                epoch = shelf.epoch
                amount = self._amount(shelf, count)
            self._refill(kek, shelf, refill, epoch, amount)

    def _prepare(self, kek: str) -> None:
        shelf = self._shelf(kek)
        with shelf.changed:
            count, shelf.ahead = shelf.ahead or 0, None
            self._drop_stale(shelf)
            if shelf.refill is not None or len(shelf.ready) >= count:
                return
            refill = shelf.refill = _Refill()
            epoch = shelf.epoch
            amount = self._amount(shelf, count)
        with contextlib.suppress(KeysError):  # those who wait for it have it in `refill`
            self._refill(kek, shelf, refill, epoch, amount)

    def discard(self, kek: str | None = None) -> None:
        """Drop the ready keys of one KEK, or of all; a rotation begins with this."""
        with self._lock:
            shelves = [s for name, s in self._shelves.items() if kek in (None, name)]
        for shelf in shelves:
            with shelf.changed:
                shelf.ready.clear()
                shelf.epoch += 1

    def _shelf(self, kek: str) -> _Shelf:
        with self._lock:
            return self._shelves.setdefault(kek, _Shelf())

    def _take_ready(self, shelf: _Shelf, count: int) -> list[DataKey] | None:
        self._drop_stale(shelf)
        if len(shelf.ready) < count:
            return None
        return [shelf.ready.popleft()[1] for _ in range(count)]

    def _drop_stale(self, shelf: _Shelf) -> None:
        oldest = self._clock() - self._max_age
        stale = 0
        while shelf.ready and shelf.ready[0][0] <= oldest:
            shelf.ready.popleft()
            stale += 1
        if stale:  # more was prepared than used: prepare less
            shelf.size = max(SMALLEST_REFILL, shelf.size - stale)
            shelf.used_up = False

    def _amount(self, shelf: _Shelf, count: int) -> int:
        if shelf.used_up:  # the last refill was gone before its age: prepare more
            shelf.size = min(self._batch, shelf.size * 2)
        need = count - len(shelf.ready) + min(shelf.wanted, MAX_READY)
        return max(need, min(shelf.size, self._batch))

    @staticmethod
    def _wait(shelf: _Shelf, refill: _Refill, count: int) -> None:
        """Wait for somebody else's refill, which then provides for this caller too."""
        shelf.wanted += count
        try:
            while shelf.refill is refill:
                shelf.changed.wait()
        finally:
            shelf.wanted -= count
        if refill.error is not None:
            # All who waited fail with it: each trying anew in turn would queue for minutes.
            raise copy.copy(refill.error) from None

    def _refill(self, kek: str, shelf: _Shelf, refill: _Refill, epoch: int, amount: int) -> None:
        fresh: list[DataKey] = []
        try:
            fresh = self._make(kek, amount)
        except KeysError as error:
            refill.error = error
            raise
        finally:
            with shelf.changed:
                if fresh and epoch == shelf.epoch:
                    self._stock(shelf, fresh)
                shelf.refill = None
                shelf.changed.notify_all()

    def _make(self, kek: str, amount: int) -> list[DataKey]:
        secrets = [Secret(os.urandom(DATA_KEY_BYTES)) for _ in range(amount)]
        # One call however many: the adapter cuts it into requests under one time budget.
        texts = self._wrapper.encrypt(kek, secrets)
        return [
            DataKey(secret, WrappedKey.parse(kek, text))
            for secret, text in zip(secrets, texts, strict=True)
        ]

    def _stock(self, shelf: _Shelf, fresh: list[DataKey]) -> None:
        newest = max(key.wrapped.kek_version for key in fresh)
        if newest > shelf.version:
            # A rotation that nobody told this process of: what is left is of the old version.
            shelf.ready.clear()
            shelf.version = newest
        shelf.used_up = True  # until some of it grows old
        born = self._clock()
        shelf.ready.extend((born, key) for key in fresh)


class Decrypter(Protocol):
    """What unwrapping needs of Vault: decrypt and nothing else."""

    def decrypt(self, key: str, ciphertexts: Sequence[str]) -> list[Secret | CiphertextRejected]:
        """Return the plaintext, or the refusal, of each ciphertext."""
        ...


class Unwrapper:
    """Unwraps stored data keys; concurrent callers share requests. Keeps no key."""

    def __init__(self, transit: Decrypter) -> None:
        self._transit = transit
        self._lock = threading.Lock()
        self._lines: dict[str, Coalescer[str, Secret]] = {}

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[Secret | CiphertextRejected]:
        """Return each data key, or `CiphertextRejected` in its place, in order.

        Raises:
            VaultUnavailable, VaultDenied, VaultRefused: Vault could not be asked.
        """
        by_kek: dict[str, list[int]] = {}
        for index, key in enumerate(wrapped):
            by_kek.setdefault(key.kek, []).append(index)
        found: dict[int, Secret | CiphertextRejected] = {}
        for kek, indexes in by_kek.items():
            texts = [wrapped[index].ciphertext for index in indexes]
            # More than one request holds has nothing to share, and would hold up who waits behind.
            results: Sequence[Secret | Exception] = (
                self._transit.decrypt(kek, texts)
                if len(texts) > MAX_BATCH
                else self._line(kek).submit_many(texts, UNWRAP_WAIT)
            )
            found.update(zip(indexes, map(_key_or_refusal, results), strict=True))
        return [found[index] for index in range(len(wrapped))]

    def _line(self, kek: str) -> Coalescer[str, Secret]:
        with self._lock:
            line = self._lines.get(kek)
            if line is None:

                def run(texts: list[str]) -> list[Secret | Exception]:
                    return list(self._transit.decrypt(kek, texts))

                line = Coalescer(run, max_batch=MAX_BATCH, max_queue=UNWRAP_QUEUE)
                self._lines[kek] = line
            return line


def _key_or_refusal(result: Secret | Exception) -> Secret | CiphertextRejected:
    if isinstance(result, Secret):
        if len(result.expose()) == DATA_KEY_BYTES:
            return result
        return CiphertextRejected()
    if isinstance(result, CiphertextRejected):
        return result
    raise copy.copy(result) from None  # shared between callers: each raises one of its own
