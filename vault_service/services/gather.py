"""Gathers concurrent callers of one use case into one batch.

No timer: a caller that finds nobody at work leads at once, and whatever queued while a batch was
under way goes together in the next. An item's failure is its own; a failure of the whole batch
(a dependency is gone) is told to each of its callers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from keys.coalesce import Coalescer
from keys.errors import Outage, VaultUnavailable
from vault_service.errors import ServiceError, Unavailable, outcome
from vault_service.services.audit import Audit, Denials

A = TypeVar("A")
T = TypeVar("T")
R = TypeVar("R")

# A batch serves at most this many callers: it bounds one statement's size and one caller's wait.
MAX_BATCH: Final = 256
# More than this waiting means that the service is overloaded; the next caller is told so.
MAX_QUEUE: Final = 1024


def sifted(
    asked: Sequence[A], check: Callable[[A, Denials], T], audit: Audit
) -> tuple[dict[int, T], dict[int, ServiceError]]:
    """Check each of several requests, by place: what came of those that passed, and the refusals.

    Args:
        asked: the requests.
        check: what is made of one, or a `ServiceError`, which is that one's outcome. It hands in
            what of its refusal is to be written down; that is written for all of them at once.
        audit: writes it. Where that fails, nobody is told of a refusal that would be in no ledger.
    """
    passed: dict[int, T] = {}
    refused: dict[int, ServiceError] = {}
    denied: list[int] = []
    try:
        with audit.denials() as denials:
            for place, each in enumerate(asked):
                before = len(denials.made)
                try:
                    passed[place] = check(each, denials)
                except ServiceError as refusal:
                    refused[place] = outcome(refusal)
                if len(denials.made) > before:
                    denied.append(place)
    except ServiceError as fault:
        refused |= dict.fromkeys(denied, outcome(fault))
    return passed, refused


def apart(
    asked: Sequence[A],
    check: Callable[[A, Denials], T],
    run: Callable[[list[T]], Sequence[R | Exception]],
    audit: Audit,
) -> list[R | Exception]:
    """Check each of several requests, and run those that passed together.

    Args:
        asked: the requests.
        check: what is run for one, or a refusal, as `sifted` has it.
        run: results in order; what it raises is the outcome of each that it was given, and of
            nobody else: who was refused before has been told so, in the ledger too.
        audit: writes the refusals.

    Returns:
        One result or error for each request, in order.
    """
    passed, refused = sifted(asked, check, audit)
    try:
        results = run(list(passed.values())) if passed else ()
    except Exception as error:  # noqa: BLE001 -- raised again by whoever asked
        results = [outcome(error)] * len(passed)
    outcomes = {**refused, **dict(zip(passed, results, strict=True))}
    return [outcomes[place] for place in range(len(asked))]


class Gather(Generic[T, R]):
    """One queue in front of one batch function.

    Args:
        run: takes items, returns as many results in order, each a value or an exception.
        max_batch: most items in one call of `run`.
        max_queue: most items waiting.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Sequence[R | Exception]],
        *,
        max_batch: int = MAX_BATCH,
        max_queue: int = MAX_QUEUE,
    ) -> None:
        def told_to_all(items: list[T]) -> list[tuple[R] | Exception]:
            try:
                # In a tuple, because to the coalescer None is an item without a result, and here
                # it is one: there is no such key.
                return [each if isinstance(each, Exception) else (each,) for each in run(items)]
            except Exception as exc:  # noqa: BLE001 -- raised again in each caller
                return [exc] * len(items)

        self._coalescer = Coalescer[T, tuple[R]](
            told_to_all, max_batch=max_batch, max_queue=max_queue
        )

    def submit(self, item: T, *, deadline: float) -> R:
        """Have one item done, in whatever company it finds.

        Args:
            item: what to do.
            deadline: `time.monotonic()` value after which the caller no longer waits.

        Raises:
            Unavailable: the queue is full and nothing was done (code `overloaded`), or the
                deadline passed and it may have been done (code `timed_out`).
            Exception: what the item's own result was.
        """
        try:
            (result,) = self._coalescer.submit_many([item], deadline - time.monotonic())
        except VaultUnavailable as exc:
            # The coalescer is a part of `keys` and says so; what is full here is this queue.
            if exc.reason is Outage.OVERLOADED:
                raise Unavailable("too many requests at once", code="overloaded") from exc
            raise Unavailable(
                "no answer in time; it may have been done all the same", code="timed_out"
            ) from exc
        if isinstance(result, Exception):
            try:
                raise result
            finally:
                # Else the error would hold this frame, and this frame the error.
                del result
        return result[0]
