"""A run under way: what the cases share."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench import people
from bench.floors import Reached
from bench.loader import Load, Loader, Request
from bench.results import Result, Row
from bench.stack import BenchError, Stack

TOKENIZE, READ, REVEAL = "tokenize, single", "masked read, single", "reveal, single"
TOKENIZE_BATCH, REVEAL_BATCH = "tokenize, 1,000 per call", "reveal, 1,000 per call"
SEARCH, ISSUE = "search by value, single", "disclosure token, single"
BATCH: Final = 1000
CUSTOMERS: Final = 200


@dataclass(slots=True, kw_only=True)
class Bench:
    """A run under way.

    Attributes:
        seconds: how long each load is measured.
        most: how many requests any load may have; few where only that it runs is asked.
        written: token -> number of every card that the service acknowledged.
        floors: by name; measured once, and used again at other sizes.
        measures_floors: whether those that are not known yet are measured.
        rotation: the one that was begun.
    """

    stack: Stack
    loader: Loader
    reached: Reached
    result: Result
    seconds: float
    numbers: Iterator[str]
    customers: list[str]
    folder: Path
    written: dict[str, str] = field(default_factory=dict, repr=False)
    floors: dict[str, float] = field(default_factory=dict)
    measures_floors: bool = True
    records: int = 0
    rotation: str | None = None
    most: int = 10**9

    def show(self, row: Row) -> None:
        """Keep a row and say that it is there."""
        self.result.rows.append(row)
        ratio = "" if row.against is None else f"  ratio {row.against:.2f}"
        rate = row.values if row.values is not None else row.per_second
        sys.stderr.write(
            f"  {row.case} ({row.clients} clients, {row.records:,} records): {rate:,.0f}/s"
            f"  p50 {row.p50:.2f} ms{ratio}{'  ERRORS ' + str(row.errors) if row.errors else ''}\n"
        )

    def row(self, case: str, load: Load, clients: int, **more: Any) -> Row:
        """A row of a load."""
        size = more.pop("size", 1)
        row = Row(
            case=case,
            records=self.records,
            clients=clients,
            per_second=load.per_second,
            values=load.per_second * size if size > 1 else None,
            p50=load.ms("p50"),
            p95=load.ms("p95"),
            p99=load.ms("p99"),
            errors=load.failures,
            note="the requests were used up" if load.report["exhausted"] else "",
            **more,
        )
        self.show(row)
        return row

    # ------------------------------------------------------------ requests

    def singles(self, count: int) -> list[tuple[Request, list[str]]]:
        """Cards to tokenize one by one, and their numbers."""
        made = []
        for place in range(count):
            number = next(self.numbers)
            customer = self.customers[place % len(self.customers)]
            made.append((people.tokenize(customer, number), [number]))
        return made

    def batches(self, count: int, size: int) -> list[tuple[Request, list[str]]]:
        """Batches of cards to tokenize, and their numbers."""
        made = []
        for place in range(count):
            cards = list(itertools.islice(self.numbers, size))
            customer = self.customers[place % len(self.customers)]
            made.append((people.tokenize_batch(customer, cards), cards))
        return made

    def write(
        self,
        sent: list[tuple[Request, list[str]]],
        *,
        clients: int,
        seconds: float | None = None,
        warm: float | None = None,
        rate: float = 0.0,
    ) -> Load:
        """Have cards tokenized, and keep what was acknowledged, to be read back at the end.

        Args:
            sent: requests, each with its numbers.
            clients: as `Loader.run` has it.
            seconds: how long is measured; as every load, if None.
            warm: as `Loader.run` has it.
            rate: as `Loader.run` has it.
        """
        load = self.loader.run(
            self.stack,
            (request for request, _ in sent),
            clients=clients,
            seconds=self.seconds if seconds is None else seconds,
            warm=warm,
            rate=rate,
            by="billing",
            keep=True,
        )
        for turn, status, body in load.kept():
            if not 200 <= status < 300:
                continue
            cards = sent[turn][1]
            given = [result["token"] for result in body["results"]] if "results" in body else [body]
            for view, number in zip(given, cards, strict=True):
                self.written[view["id"]] = number
        return load

    def lacks(self, floor: str) -> bool:
        """Whether a floor is still to be measured."""
        return self.measures_floors and floor not in self.floors

    def known(self, count: int) -> list[str]:
        """Tokens of cards that were written."""
        return list(itertools.islice(self.written, count))


def expected(bench: Bench, per_second: float, *, seconds: float | None = None) -> int:
    """How many requests a load of so long may need at most."""
    needed = int(((bench.seconds if seconds is None else seconds) + 1) * per_second) + 200
    return min(bench.most, needed)


def settle(bench: Bench) -> None:
    """Wait until the worker has sequenced what waits."""
    until = time.monotonic() + 120
    with bench.reached.link() as link:
        while time.monotonic() < until:
            row = link.execute("SELECT count(*) FROM ledger_outbox").fetchone()
            if row is not None and row[0] < 50:
                return
            time.sleep(0.1)
    raise BenchError("the worker does not keep up with the ledger")


def run(command: list[str], *, allowed: tuple[int, ...] = (0,)) -> str:
    """Run a command of the project's own; what it wrote.

    Raises:
        BenchError: it ended otherwise than allowed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in allowed:
        raise BenchError(f"{command[3:6]} failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    return done.stdout
