"""Growth: the same calls at two sizes, by turns.

A machine that shares its host is faster at one moment than at the next (a lone reveal: 3.2 and
5.1 ms of the same code within minutes), so that figures of the begin and the end of a run say
nothing of growth. Beside the large vault stands one of the smallest size, with servers of its own:
each call is measured at the small one, at the large one, and at the small one again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Final

from bench import floors
from bench.cases import read_all_back
from bench.floors import Reached
from bench.loader import Loader
from bench.people import customers
from bench.results import Result, Row
from bench.running import BATCH, Bench, settle
from bench.stack import BenchError, started
from bench.upkeep import grow

_AT_MOST: Final = 1.2
# What is measured of the same vault twice may differ by so much.
_STEADY: Final = 1.15
# Values of the small one that are read back at the end.
_READ_BACK: Final = 10_000


class Turns:
    """A large vault and, once it is needed, a small one beside it.

    Args:
        bench: the run of the large one.
        records: of the small one.
        times: how often a case is measured at most, where the small one was not as fast after the
            large one as before it.
    """

    def __init__(self, bench: Bench, records: int, *, times: int) -> None:
        self._bench = bench
        self._records = records
        self._times = times
        self._kept = ExitStack()
        self._small: Bench | None = None

    def close(self) -> None:
        """Read back what the small one acknowledged, and stop it.

        Raises:
            BenchError: a value did not read back.
        """
        small, self._small = self._small, None
        try:
            if small is not None:
                read_all_back(small, most=_READ_BACK)
        finally:
            self._kept.close()

    def measure(self, case: Callable[[Bench], None], records: int) -> None:
        """Measure a case at both, the large one filled to so many, and tell how its p50 has grown.

        Raises:
            BenchError: the small one did not answer, so that nothing can be told.
        """
        large, small = self._bench, self._beside()
        if large.records < records:
            grow(large, records)
        for left in reversed(range(self._times)):
            already = len(large.result.rows)
            pairs = self._turn(case, small, large)
            failed = any(row.errors for found in pairs for row in found)
            if not left or failed or all(_steady(before, after) for _, before, after in pairs):
                break
            # The machine has changed meanwhile: nothing of this can be compared.
            del large.result.rows[already:]
        for row, *found in pairs:
            large.show(
                Row(
                    case=f"growth of p50: {row.case}",
                    records=row.records,
                    clients=row.clients,
                    ratio=row.p50 / fmean(each.p50 for each in found),
                    p50=row.p50,
                    errors=sum(each.errors for each in found),
                    at_most=_AT_MOST,
                    floor_name="p50 of the small vault, before and after",
                )
            )

    @staticmethod
    def _turn(
        case: Callable[[Bench], None], small: Bench, large: Bench
    ) -> list[tuple[Row, Row, Row]]:
        """Rows of the large one, each with those of the small one before and after."""
        before, already = len(small.result.rows), len(large.result.rows)
        for each in (small, large, small):
            case(each)
            # Else the next would share the machine with what this one has left to be sequenced.
            settle(each)
        pairs = []
        for row in large.result.rows[already:]:
            found = [
                each
                for each in small.result.rows[before:]
                if (each.case, each.clients) == (row.case, row.clients)
            ]
            if [bool(each.p50) for each in found] != [True, True]:
                raise BenchError("the small vault did not answer before and after")
            pairs.append((row, found[0], found[1]))
        return pairs

    def _beside(self) -> Bench:
        if self._small is None:
            folder = self._bench.folder / "beside"
            with ExitStack() as kept:
                small = self._started(kept, folder)
                self._kept = kept.pop_all()
            self._small = small
        return self._small

    def _started(self, kept: ExitStack, folder: Path) -> Bench:
        large = self._bench
        stack = kept.enter_context(started(folder / "vault"))
        people = customers(stack, len(large.customers))
        small = Bench(
            stack=stack,
            loader=Loader(program=large.loader.program, folder=folder / "load"),
            reached=Reached.of(stack, people[:50]),
            result=Result(options={}),
            # Twice half as long as the large one.
            seconds=large.seconds / 2,
            numbers=large.numbers,
            customers=people,
            folder=folder,
            most=large.most,
            measures_floors=False,
        )
        floors.prepare(small.reached)
        begin(small, self._records)
        return small


def _steady(before: Row, after: Row) -> bool:
    return max(before.p50, after.p50) <= _STEADY * min(before.p50, after.p50)


def begin(bench: Bench, records: int) -> None:
    """Have a vault of the smallest size: cards that were tokenized, and nothing else.

    Raises:
        BenchError: they cannot be written.
    """
    sent = bench.batches(records // BATCH, BATCH)
    load = bench.write(sent, clients=1, seconds=120.0, warm=0.0)
    if load.failures or len(bench.written) < records:
        raise BenchError("cards cannot be written")
    grow(bench, records)
