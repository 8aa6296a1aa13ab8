"""Concurrent callers share batches and keep their own outcomes."""

from __future__ import annotations

import threading
import time
from typing import cast

import pytest

from tests.support.whole import refusal
from vault_service.errors import NotFound, Unavailable
from vault_service.services.audit import Audit, Denials
from vault_service.services.gather import Gather, apart
from vault_service.services.ports import UnitOfWork

# Nothing is written down here.
AUDIT = Audit(process_role="test", uow=cast("UnitOfWork", None))


def later(seconds: float = 5.0) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def test_an_items_error_is_its_own() -> None:
    """A result that is an exception is raised in its caller only."""
    gather = Gather[int, int](lambda items: [NotFound("no") if i == 1 else i for i in items])
    assert gather.submit(2, deadline=later()) == 2
    refusal(lambda: gather.submit(1, deadline=later()), NotFound)


def test_none_is_a_result() -> None:
    """A look-up that finds nothing has found that out."""
    assert (
        Gather[int, None](lambda items: [None for _ in items]).submit(1, deadline=later()) is None
    )


def test_a_failed_batch_fails_each_of_its_callers() -> None:
    """What a dependency throws reaches everyone who waited."""

    def run(_: list[int]) -> list[int]:
        raise Unavailable("gone", code="database_unavailable")

    gather = Gather[int, int](run)
    assert refusal(lambda: gather.submit(1, deadline=later())).code == "database_unavailable"


def test_a_bug_is_not_swallowed() -> None:
    """An error of no tree is raised as it is."""

    def run(_: list[int]) -> list[int]:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        Gather[int, int](run).submit(1, deadline=later())


class _Slow:
    """Holds its first batch until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.entered.set()
        assert self.go.wait(10)
        return items


def test_who_queued_meanwhile_goes_together() -> None:
    """While one batch is under way the others gather in the next."""
    slow = _Slow()
    gather = Gather[int, int](slow)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(gather.submit(i, deadline=later(10))))
        for i in range(9)
    ]
    threads[0].start()
    assert slow.entered.wait(5)
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.2)
    slow.go.set()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(9))
    assert [len(batch) for batch in slow.batches] == [1, 8]


@pytest.mark.parametrize(
    ("deadline", "queue", "code"), [(0.1, 8, "timed_out"), (5.0, 1, "overloaded")]
)
def test_who_waits_too_long_or_comes_to_a_full_queue_is_told(
    deadline: float, queue: int, code: str
) -> None:
    """Told apart: at a full queue nothing was done, after a wait it may have been."""
    slow = _Slow()
    gather = Gather[int, int](slow, max_queue=queue)
    leader = threading.Thread(target=lambda: gather.submit(0, deadline=later(10)))
    leader.start()
    assert slow.entered.wait(5)
    follower = threading.Thread(target=lambda: gather.submit(1, deadline=later(10)))
    follower.start()
    time.sleep(0.1)
    error = refusal(lambda: gather.submit(2, deadline=later(deadline)), Unavailable)
    assert error.code == code
    slow.go.set()
    leader.join()
    follower.join()


def test_who_is_refused_keeps_his_refusal_whatever_becomes_of_the_others() -> None:
    """Those who passed are run together, in order; what fails for all of them is theirs alone."""

    def check(number: int, _: Denials) -> str:
        if number < 0:
            raise NotFound("no")
        return str(number)

    def run(texts: list[str]) -> list[str | Exception]:
        if "9" in texts:
            raise Unavailable("gone", code="database_unavailable")
        return [ValueError(text) if text == "2" else text * 2 for text in texts]

    kinds = [type(each) for each in apart([1, -1, 2], check, run, AUDIT)]
    assert kinds == [str, NotFound, ValueError]
    first, refused, last = apart([9, -1, 3], check, run, AUDIT)
    assert isinstance(refused, NotFound)
    assert isinstance(first, Unavailable)
    assert first is last
    assert [type(each) for each in apart([-1], check, run, AUDIT)] == [NotFound]
    assert apart([], check, run, AUDIT) == []
