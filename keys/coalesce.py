"""Many concurrent callers, one request: leader and followers, no timer, no thread of its own.

Whoever finds nobody at work leads: it runs what has queued, hands out the results, and when its
own items are done passes the lead to the next caller in the queue. What arrives while a request
is under way waits and goes together in the next one. A lone caller pays nothing. A caller who has
waited so long that another request like the last one would end after its time is turned away
instead: else a dependency that answers nobody would cost each of those who wait a time-out of
their own on top of the one that they have sat through.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from keys.errors import KeysError, Outage, VaultUnavailable

T = TypeVar("T")
R = TypeVar("R")


class _Group(Generic[T, R]):
    """One caller's items, their results as they come, and the caller's bell."""

    __slots__ = ("bell", "items", "late", "left", "next", "results", "rung", "until")

    def __init__(self, items: Sequence[T], until: float) -> None:
        self.items = items
        self.until = until
        self.results: list[R | Exception | None] = [None] * len(items)
        self.next = 0  # the first item that no request has taken yet
        self.left = len(items)  # how many results are still to come
        self.late = False  # whether it was turned away
        # A held lock, let go once: a tenth of what an Event costs, and this is on every request.
        self.bell = threading.Lock()
        self.bell.acquire()
        self.rung = False

    def ring(self) -> None:
        """Wake its caller: it is done, turned away, or asked to lead. Under the queue's lock."""
        if not self.rung:
            self.rung = True
            self.bell.release()


class Coalescer(Generic[T, R]):
    """Gathers the items of concurrent callers into shared batches.

    `run` gets up to `max_batch` items and returns one result or exception for each, in order. If
    `run` itself raises a `KeysError`, every item of that batch gets it.
    """

    def __init__(
        self,
        run: Callable[[list[T]], list[R | Exception]],
        *,
        max_batch: int,
        max_queue: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._clock = clock
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._lock = threading.Lock()
        self._queue: deque[_Group[T, R]] = deque()
        self._waiting = 0
        self._leading = False

    def submit_many(self, items: Sequence[T], timeout: float) -> list[R | Exception]:
        """Return one result or exception per item, in order.

        Args:
            items: this caller's items; they may travel in several batches.
            timeout: seconds to wait for other callers' requests; a leader's own request is bounded
                by `run` itself.

        Raises:
            VaultUnavailable: more than `max_queue` items wait already, or the time is over.
        """
        group: _Group[T, R] = _Group(items, self._clock() + timeout)
        if not items:
            return []
        with self._lock:
            # A single large caller is always let in; the limit is for many that pile up.
            if self._waiting and self._waiting + len(items) > self._max_queue:
                raise VaultUnavailable("too many callers are waiting", reason=Outage.OVERLOADED)
            self._queue.append(group)
            self._waiting += len(items)
            lead = not self._leading
            self._leading = True
        if not lead:
            lead = self._follow(group, timeout)
        if lead:
            self._lead(group)
        return [_filled(result) for result in group.results]

    def _follow(self, group: _Group[T, R], timeout: float) -> bool:
        """Wait until the group is done (False) or the lead is passed on to it (True)."""
        # Whoever rings has written everything before.
        if group.bell.acquire(timeout=max(0.0, timeout)) and group.left == 0:
            return False
        with self._lock:
            if group.left == 0:
                return False
            if group.rung and not group.late:
                return True
            # Withdraw what no request has taken; what is under way is left to finish unread.
            if group in self._queue:
                self._queue.remove(group)
                self._waiting -= len(group.items) - group.next
        raise VaultUnavailable("waited too long for a shared request", reason=Outage.SLOW)

    def _lead(self, group: _Group[T, R]) -> None:
        took = 0.0
        try:
            while group.left and not group.late:
                began = self._clock()
                self._run_one_batch()
                took = self._clock() - began
        finally:
            # Passed on whatever happens, or everyone who waits would wait for nobody.
            with self._lock:
                self._turn_away(took)
                if self._queue:
                    self._queue[0].ring()
                else:
                    self._leading = False
        if group.late:
            raise VaultUnavailable("waited too long for a shared request", reason=Outage.SLOW)

    def _turn_away(self, took: float) -> None:
        """Withdraw those next in the queue for whom a request that takes so long comes too late."""
        now = self._clock()
        while self._queue:
            group = self._queue[0]
            if group.next > 0 or group.until - now >= took:
                return
            self._turn_away_first()

    def _turn_away_first(self) -> None:
        group = self._queue.popleft()
        self._waiting -= len(group.items)
        group.late = True
        group.ring()

    def _run_one_batch(self) -> None:
        parts = self._take_batch()
        if not parts:  # the time of all who waited is over
            return
        items = [item for group, first, end in parts for item in group.items[first:end]]
        results: Sequence[R | Exception | None] = [None] * len(items)
        try:
            answer = self._run(items)
            if len(answer) != len(items):
                raise VaultUnavailable("answer of a wrong length", reason=Outage.UNREADABLE)
            results = answer
        except KeysError as error:
            results = [error] * len(items)
        finally:
            # Whatever `run` died of, nobody is left waiting for a batch that is no more.
            self._hand_out(parts, results)

    def _hand_out(
        self, parts: list[tuple[_Group[T, R], int, int]], results: Sequence[R | Exception | None]
    ) -> None:
        done = iter(results)
        with self._lock:
            for group, first, end in parts:
                for index in range(first, end):
                    group.results[index] = next(done)
                group.left -= end - first
                if group.left == 0:
                    group.ring()

    def _take_batch(self) -> list[tuple[_Group[T, R], int, int]]:
        """Take up to `max_batch` items off the queue, oldest callers first.

        Whose time is over is turned away: its work would be done for nobody.
        """
        room = self._max_batch
        parts: list[tuple[_Group[T, R], int, int]] = []
        with self._lock:
            now = self._clock()
            while room and self._queue:
                group = self._queue[0]
                if group.next == 0 and group.until <= now:
                    self._turn_away_first()
                    continue
                first, end = group.next, min(len(group.items), group.next + room)
                parts.append((group, first, end))
                group.next = end
                room -= end - first
                self._waiting -= end - first
                if end == len(group.items):
                    self._queue.popleft()
        return parts


def _filled(result: R | Exception | None) -> R | Exception:
    if result is None:  # a run that died of an error that is not ours; never a silent gap
        return VaultUnavailable("shared request failed", reason=Outage.FAILING)
    return result
