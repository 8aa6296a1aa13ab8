"""`scripts/bench`: the service against its floors and its peers, on real servers, in one run."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console

from bench import cases, floors, growth, peers, results, strain, upkeep
from bench.floors import Reached
from bench.loader import Loader, build
from bench.people import customers, numbers
from bench.results import Result, Row
from bench.running import BATCH, CUSTOMERS, Bench
from bench.stack import BenchError, Stack, started

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "bench" / "results"
KEPT: Final = ROOT / "build" / "bench"
PEERS: Final = KEPT / "peers"
# Records of the smallest size.
SMALL: Final = 10 * BATCH
SMOKE: Final = 2 * BATCH
# From so many records on a size has a name of its own in the options.
LARGE: Final = 10_000_000
# Left out of a quick run's second size.
_NOT_AGAIN: Final = frozenset(("read 1", "search 32"))
_ROTATION_SECONDS: Final = 400.0
_TOKENS: Final = 3000


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 3 minutes, 100,000 records")
    parser.add_argument("--smoke", action="store_true", help="seconds: that it runs, not how fast")
    parser.add_argument("--large", action="store_true", help="at 10 million records too")
    parser.add_argument("--seconds", type=float, help="how long each load is measured")
    parser.add_argument("--only", action="append", metavar="WORD", help="cases with this in them")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="beside an earlier run")
    parser.add_argument("--markdown", type=Path, metavar="RUN.json", help="print a run's tables")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are kept")
    parser.add_argument("--keep", action="store_true", help="keep the vault's folder")
    return parser.parse_args(arguments)


Step = tuple[str, Callable[[], None]]


def steps(bench: Bench, turns: growth.Turns, asked: argparse.Namespace) -> list[Step]:
    """The cases in their order, by name."""
    found: list[Step] = [(f"small {name}", partial(case, bench)) for name, case in _sized(asked)]
    if asked.smoke:
        return [*found, *_smoke(bench, turns)]
    quick = asked.quick

    def add(name: str, step: Callable[[], None]) -> None:
        found.append((name, step))

    for name, batches in (
        ("tokenize-batch", cases.tokenize_batch),
        ("reveal-batch", cases.reveal_batch),
    ):
        for clients in (1,) if quick else (1, 4):
            add(f"{name} {clients}", partial(batches, bench, clients))
    add("import", partial(upkeep.imported, bench, 10_000 if quick else 100_000))
    add("ledger", partial(upkeep.ledger, bench, 20_000))
    rotation = "rotation", partial(upkeep.rotation, bench, limit=_ROTATION_SECONDS)
    big = 100_000 if quick else 1_000_000
    for size in (big, LARGE) if asked.large else (big,):
        add(f"fill {size}", partial(upkeep.grow, bench, size))
        if quick and size == big:  # there is time until its certificate
            found.append(rotation)
        found += _grown(turns, asked, size)
    add("small vault's end", turns.close)
    add("overload", partial(strain.overload, bench))
    if not asked.no_peers:
        add("peers", partial(_peers, bench, min(bench.seconds, 3.0)))
    if not quick:
        # The last: PostgreSQL vacuums for minutes afterwards.
        found.append(rotation)
    return found


def _grown(turns: growth.Turns, asked: argparse.Namespace, size: int) -> list[Step]:
    return [
        (f"growth {size} {name}", partial(turns.measure, case, size))
        for name, case in _sized(asked)
        if not (asked.quick and name in _NOT_AGAIN)
    ]


def _smoke(bench: Bench, turns: growth.Turns) -> list[Step]:
    return [
        ("tokenize-batch", partial(cases.tokenize_batch, bench, 1)),
        ("reveal-batch", partial(cases.reveal_batch, bench, 1)),
        ("import", partial(upkeep.imported, bench, 200)),
        ("ledger", partial(upkeep.ledger, bench, 500)),
        ("growth", partial(turns.measure, partial(cases.read, clients=1), SMOKE)),
        ("small vault's end", turns.close),
    ]


def _sized(asked: argparse.Namespace) -> Iterator[tuple[str, Callable[[Bench], None]]]:
    """The calls that are measured at every size, by name."""
    quick, smoke = asked.quick or asked.smoke, asked.smoke
    for clients in (1,) if smoke else (1, 64) if quick else (1, 16, 64):
        yield f"tokenize {clients}", partial(cases.tokenize, clients=clients)
    for clients in (1,) if smoke else (1, 32):
        yield f"read {clients}", partial(cases.read, clients=clients)
    yield "search 32", partial(cases.search, clients=32)
    for clients in (1,) if smoke else (32,) if quick else (1, 32):
        yield f"reveal {clients}", partial(cases.reveal, clients=clients)


def run(asked: argparse.Namespace, folder: Path, stack: Stack) -> Result:
    """Measure everything that was asked for."""
    result = Result(
        options={name: str(value) for name, value in vars(asked).items() if value is not None}
    )
    seconds = asked.seconds or (0.2 if asked.smoke else 2.0 if asked.quick else 5.0)
    people = customers(stack, 3 if asked.smoke else CUSTOMERS)
    reached = Reached.of(stack, people[:50])
    floors.prepare(reached)
    bench = Bench(
        stack=stack,
        loader=Loader(program=build(KEPT), folder=folder / "load"),
        reached=reached,
        result=result,
        seconds=seconds,
        numbers=numbers(time.time_ns()),
        customers=people,
        folder=folder,
        most=40 if asked.smoke else 10**9,
    )
    result.facts["seconds from the command to a ready service, first start"] = stack.started_seconds
    strain.memory(bench, "at rest")
    small = SMOKE if asked.smoke else SMALL
    growth.begin(bench, small)
    speeds = [strain.yardstick()]
    with closing(growth.Turns(bench, small, times=1 if asked.quick or asked.smoke else 3)) as turns:
        for name, step in steps(bench, turns, asked):
            if asked.only and not any(word in name for word in asked.only):
                continue
            _attempt(bench, name, step)
            speeds.append(strain.yardstick())
    result.facts["a fixed computation between the cases, ms: least, median, most"] = ", ".join(
        f"{speed:.1f}" for speed in (min(speeds), median(speeds), max(speeds))
    )
    strain.memory(bench, "at the end")
    most = 2_000 if asked.smoke else 20_000 if asked.quick else 50_000
    _attempt(bench, "read everything back", partial(cases.read_all_back, bench, most=most))
    # At the very end: for a minute and a half it waits for nothing but the old keys' end.
    if bench.rotation is not None:
        _attempt(
            bench,
            "rotation's end",
            partial(upkeep.rotated, bench, bench.rotation, limit=_ROTATION_SECONDS),
        )
    for part, used in strain.cpu(bench).items():
        result.facts[f"CPU seconds of {part}"] = used
    return result


def _attempt(bench: Bench, name: str, step: Callable[[], None]) -> None:
    """Measure a case; one that fails is an error of the run, and the others are measured still."""
    sys.stderr.write(f"{name}\n")
    try:
        step()
    except Exception as error:  # noqa: BLE001 -- the row says what it was, and the run has failed
        note = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        bench.show(Row(case=f"failed: {name}", records=bench.records, errors=1, note=note[:300]))


def _peers(bench: Bench, seconds: float) -> None:
    peers.prepare(bench.reached)
    for peer in peers.PEERS:
        if not peers.present(peer, PEERS):
            bench.result.facts[f"peer left out: {peer.name}"] = (
                f"the package {peer.module} is not installed; scripts/bench --install-peers"
            )
            continue
        try:
            written, read = peers.measure(bench.reached, peer, PEERS, seconds)
        except Exception as error:  # noqa: BLE001 -- a peer that fails is no fault of the run
            bench.result.facts[f"peer left out: {peer.name}"] = str(error)
            continue
        for what, speed in (("write one", written), ("read one", read)):
            bench.show(
                Row(
                    case=f"peer: {peer.name}, {what}", records=bench.records,
                    clients=peers.PROCESSES, per_second=speed, note=peer.differs,
                )
            )  # fmt: skip


def _restart(result: Result, folder: Path) -> None:
    """Tell how long a start takes in a folder that was used before; what was measured stays."""
    name = "seconds from the command to a ready service, later starts"
    try:
        with started(folder) as stack:
            result.facts[name] = stack.started_seconds
    except BenchError as error:
        result.rows.append(Row(case="failed: later start", errors=1, note=str(error)[:300]))


def main() -> int:
    """Run; 0 when there was no error and, with --compare, nothing became worse."""
    asked = options()
    console = Console(width=None if sys.stdout.isatty() else 220)
    if asked.markdown:
        sys.stdout.write(results.markdown(results.load(asked.markdown)))
        return 0
    old = results.load(asked.compare) if asked.compare else None
    began = time.monotonic()
    KEPT.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=KEPT))
    try:
        with started(folder / "vault") as stack:
            result = run(asked, folder, stack)
        if not asked.smoke:
            _restart(result, folder / "vault")
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    result.facts["minutes"] = (time.monotonic() - began) / 60
    result.facts["load average after"] = round(os.getloadavg()[0], 2)
    console.print(results.table(result.rows))
    for name, value in result.facts.items():
        console.print(f"{name}: {results.told(value)}", highlight=False)
    file = result.save(asked.results)
    console.print(f"kept as {file} and .svg", highlight=False)
    worse = results.compare(old, result, console) if old is not None else 0
    if result.errors:
        console.print(f"{result.errors} errors; there must be none", style="bold red")
    return 1 if result.errors or worse else 0


if __name__ == "__main__":
    sys.exit(main())
