"""Concurrent callers share requests, and each gets exactly its own results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from keys.coalesce import Coalescer
from keys.errors import Outage, VaultDenied, VaultUnavailable


def tenfold(items: list[int]) -> list[int | Exception]:
    """A run whose results name their items."""
    return [item * 10 for item in items]


class Gate:
    """A run that stops inside its first batch until told to go on."""

    def __init__(self, then: Callable[[list[int]], list[int | Exception]] = tenfold) -> None:
        self.batches: list[list[int]] = []
        self.inside = threading.Event()
        self.go = threading.Event()
        self._then = then

    def __call__(self, items: list[int]) -> list[int | Exception]:
        """Run one batch."""
        self.batches.append(items)
        self.inside.set()
        assert self.go.wait(10)
        return self._then(items)


def waiting(line: Coalescer[int, int], items: int) -> None:
    """Return when so many items wait."""
    until = time.monotonic() + 10
    while line._waiting != items:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_lone_caller_gets_results_in_order() -> None:
    """One caller, one batch, results in the order of the items."""
    line = Coalescer(tenfold, max_batch=5, max_queue=10)
    assert line.submit_many([3, 1, 2], 1) == [30, 10, 20]
    assert line.submit_many([], 1) == []


def test_large_submissions_are_cut() -> None:
    """No batch is larger than the limit, and a lone caller may exceed the queue's."""
    sizes: list[int] = []

    def run(items: list[int]) -> list[int | Exception]:
        sizes.append(len(items))
        return tenfold(items)

    line = Coalescer(run, max_batch=4, max_queue=5)
    assert line.submit_many(range(10), 1) == [n * 10 for n in range(10)]
    assert sizes == [4, 4, 2]


def test_what_queues_meanwhile_goes_together() -> None:
    """While one request is under way the others gather into the next."""
    gate = Gate()
    line = Coalescer(gate, max_batch=100, max_queue=100)
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(line.submit_many, [0], 10)
        assert gate.inside.wait(10)
        others = [pool.submit(line.submit_many, [n], 10) for n in range(1, 9)]
        waiting(line, 8)
        gate.go.set()
        assert first.result() == [0]
        assert [other.result() for other in others] == [[n * 10] for n in range(1, 9)]
    assert [len(batch) for batch in gate.batches] == [1, 8]


def test_every_caller_gets_its_own_under_load() -> None:
    """10,000 items of 16 threads: no result lost, swapped or made twice."""
    made: list[int] = []

    def run(items: list[int]) -> list[int | Exception]:
        made.extend(items)
        return tenfold(items)

    line = Coalescer(run, max_batch=7, max_queue=10_000)

    def work(worker: int) -> None:
        for turn in range(125):
            items = [worker * 1000 + turn * 5 + n for n in range(5)]
            assert line.submit_many(items, 30) == [item * 10 for item in items]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert len(made) == len(set(made)) == 10_000


def test_an_error_of_one_batch_reaches_all_its_items() -> None:
    """If the request fails, each item of it has the error."""

    def run(items: list[int]) -> list[int | Exception]:
        raise VaultDenied(f"{len(items)} denied")

    results = Coalescer(run, max_batch=5, max_queue=5).submit_many([1, 2], 1)
    assert [type(result) for result in results] == [VaultDenied, VaultDenied]


def test_an_answer_of_wrong_length_is_an_error_of_all() -> None:
    """Results are never shifted onto other items."""
    line: Coalescer[int, int] = Coalescer(lambda _: [1], max_batch=5, max_queue=5)
    for result in line.submit_many([1, 2], 1):
        assert isinstance(result, VaultUnavailable)
        assert result.reason is Outage.UNREADABLE


def test_a_run_that_dies_leaves_nobody_waiting() -> None:
    """An error that is a bug reaches the leader; followers get an error, not silence."""

    def die(_: list[int]) -> list[int | Exception]:
        raise ZeroDivisionError

    gate = Gate(die)
    line = Coalescer(gate, max_batch=1, max_queue=5)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(line.submit_many, [1], 10)
        assert gate.inside.wait(10)
        follower = pool.submit(line.submit_many, [2], 10)
        waiting(line, 1)
        gate.go.set()
        for future in (leader, follower):
            with pytest.raises(ZeroDivisionError):
                future.result(10)


def test_a_follower_in_a_batch_that_dies_has_an_error() -> None:
    """The one whose items the dying leader carried gets an error in their place."""
    turns = iter([tenfold])

    def run(items: list[int]) -> list[int | Exception]:
        return next(turns)(items)  # the second batch ends in StopIteration

    gate = Gate(run)
    line = Coalescer(gate, max_batch=2, max_queue=9)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(line.submit_many, [1, 2, 3], 10)
        assert gate.inside.wait(10)
        follower = pool.submit(line.submit_many, [4], 10)
        waiting(line, 2)
        gate.go.set()
        with pytest.raises(StopIteration):
            leader.result(10)
        (result,) = follower.result(10)
    assert isinstance(result, VaultUnavailable)


def test_a_full_queue_refuses_at_once() -> None:
    """More than the limit waiting is an overload, told without waiting."""
    gate = Gate()
    line = Coalescer(gate, max_batch=1, max_queue=2)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(line.submit_many, [0], 10)]
        assert gate.inside.wait(10)
        futures += [pool.submit(line.submit_many, [n], 10) for n in (1, 2)]
        waiting(line, 2)
        with pytest.raises(VaultUnavailable) as caught:
            line.submit_many([3], 10)
        assert caught.value.reason is Outage.OVERLOADED
        gate.go.set()
        assert [future.result(10) for future in futures] == [[0], [10], [20]]


def test_a_follower_stops_waiting_in_time_and_withdraws() -> None:
    """After its timeout a follower leaves, and its items are never run."""
    gate = Gate()
    line = Coalescer(gate, max_batch=1, max_queue=9)
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(line.submit_many, [0], 10)
        assert gate.inside.wait(10)
        with pytest.raises(VaultUnavailable) as caught:
            line.submit_many([1], 0.05)
        assert caught.value.reason is Outage.SLOW
        gate.go.set()
        assert leader.result(10) == [0]
    assert gate.batches == [[0]]
    assert line.submit_many([5], 1) == [50]


def test_a_follower_whose_items_are_under_way_leaves_them() -> None:
    """A timeout while the own items are in a request gives up on them, without harm to others."""
    first, second, inside = threading.Event(), threading.Event(), threading.Event()

    def run(items: list[int]) -> list[int | Exception]:
        if 1 in items:
            inside.set()
            assert second.wait(10)
        else:
            assert first.wait(10)
        return tenfold(items)

    line = Coalescer(run, max_batch=2, max_queue=9)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(line.submit_many, [7, 8, 9], 10)  # its second batch has room for one
        waiting(line, 1)
        follower = pool.submit(line.submit_many, [1], 0.2)
        waiting(line, 2)
        first.set()
        assert inside.wait(10)
        assert isinstance(follower.exception(10), VaultUnavailable)
        second.set()
        assert leader.result(10) == [70, 80, 90]
    assert line.submit_many([2], 1) == [20]


def test_a_caller_for_whom_another_request_would_come_too_late_is_turned_away() -> None:
    """After a long request a follower with little time left hears so; a patient one is served."""
    hands = [0.0]

    def slow(items: list[int]) -> list[int | Exception]:
        hands[0] += 2.8
        return tenfold(items)

    gate = Gate(slow)
    line = Coalescer(gate, max_batch=1, max_queue=9, clock=lambda: hands[0])
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(line.submit_many, [0], 10)
        assert gate.inside.wait(10)
        hasty = pool.submit(line.submit_many, [1], 3.0)
        waiting(line, 1)
        patient = pool.submit(line.submit_many, [2], 9.0)
        waiting(line, 2)
        gate.go.set()
        assert leader.result(10) == [0]
        late = hasty.exception(10)
        assert isinstance(late, VaultUnavailable)
        assert late.reason is Outage.SLOW
        assert patient.result(10) == [20]
    assert gate.batches == [[0], [2]]
    assert line.submit_many([5], 9) == [50]


def test_a_caller_whose_first_items_are_done_is_not_turned_away() -> None:
    """What has begun is finished, however long it takes."""
    hands = [0.0]

    def slow(items: list[int]) -> list[int | Exception]:
        hands[0] += 2.8
        return tenfold(items)

    gate = Gate(slow)
    line = Coalescer(gate, max_batch=2, max_queue=9, clock=lambda: hands[0])
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(line.submit_many, [1, 2, 3], 10)
        assert gate.inside.wait(10)
        follower = pool.submit(line.submit_many, [4, 5], 3.0)
        waiting(line, 3)
        gate.go.set()
        assert leader.result(10) == [10, 20, 30]
        assert follower.result(10) == [40, 50]
    assert gate.batches == [[1, 2], [3, 4], [5]]


def test_nothing_is_done_for_a_caller_whose_time_is_over() -> None:
    """Behind a patient caller, one whose time has run out is left out of the batch."""
    hands = [0.0]

    def slow(items: list[int]) -> list[int | Exception]:
        hands[0] += 4.0
        return tenfold(items)

    gate = Gate(slow)
    line = Coalescer(gate, max_batch=5, max_queue=9, clock=lambda: hands[0])
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(line.submit_many, [0], 10)
        assert gate.inside.wait(10)
        patient = pool.submit(line.submit_many, [1], 9.0)
        waiting(line, 1)
        hasty = pool.submit(line.submit_many, [2], 3.0)
        waiting(line, 2)
        gate.go.set()
        assert leader.result(10) == [0]
        assert patient.result(10) == [10]
        late = hasty.exception(10)
    assert isinstance(late, VaultUnavailable)
    assert late.reason is Outage.SLOW
    assert gate.batches == [[0], [1]]


def test_a_caller_who_comes_too_late_is_told_at_once_and_stops_nobody() -> None:
    """Not even who finds nobody at work has his work done after his time."""
    sizes: list[int] = []

    def run(items: list[int]) -> list[int | Exception]:
        sizes.append(len(items))
        return tenfold(items)

    line = Coalescer(run, max_batch=5, max_queue=9)
    with pytest.raises(VaultUnavailable) as late:
        line.submit_many([1], -0.5)
    assert late.value.reason is Outage.SLOW
    assert sizes == []
    assert line.submit_many([2], 1) == [20]
    assert line._waiting == 0
