"""Overload, memory, and who used the processors."""

from __future__ import annotations

import time

from bench.loader import Load
from bench.results import Row
from bench.running import TOKENIZE, Bench, expected, settle
from bench.stack import cpu_seconds, descendants, memory_mib


def overload(bench: Bench) -> None:
    """Four times the load that it carries, between two loads that it carries.

    What it carries is measured right before and after: the machine is not always as fast.
    """
    settle(bench)
    known = (row.per_second for row in bench.result.rows if row.case == TOKENIZE)
    before = _carried(bench, max(known, default=1000.0))
    seconds = max(6.0, bench.seconds)
    sent = bench.singles(int(before.per_second * 4 * (seconds + 1)))
    load = bench.write(sent, clients=512, seconds=seconds, rate=before.per_second * 4)
    # At once: what it does within seconds of an overload is to be seen.
    after = _carried(bench, before.per_second, warm=0.0)
    shed = int(load.report["statuses"].get("503", 0))
    bad = load.failures - shed
    bench.row(f"before the overload: {TOKENIZE}", before, 64)
    bench.show(
        Row(
            case="overload, 4 times that rate", records=bench.records, clients=512,
            per_second=load.per_second, p50=load.ms("p50"), p95=load.ms("p95"), p99=load.ms("p99"),
            errors=bad + int(load.report["without_retry_after"]),
            floor=max(before.per_second, after.per_second),
            floor_name="the better of before and after it", target=0.8,
            note=f"{shed} shed",
        )
    )  # fmt: skip
    bench.row(
        f"after the overload: {TOKENIZE}", after, 64,
        floor=before.per_second, floor_name="before it", target=0.8,
    )  # fmt: skip
    bench.result.facts["overload: requests shed with 503"] = shed
    bench.result.facts["overload: p99 of those admitted, ms (at most 1,000)"] = load.ms("p99")


def _carried(bench: Bench, guess: float, *, warm: float | None = None) -> Load:
    """What 64 clients have served, who ask again when they have their answer."""
    sent = bench.singles(expected(bench, guess * 1.5, seconds=4.0))
    return bench.write(sent, clients=64, seconds=4.0, warm=warm)


def memory(bench: Bench, when: str) -> None:
    """Tell the memory of the workers."""
    pids = bench.stack.workers()
    now = [round(memory_mib(pid), 1) for pid in pids]
    peak = [round(memory_mib(pid, "VmHWM"), 1) for pid in pids]
    bench.result.facts[f"memory of each worker {when}, MiB (peak)"] = (
        f"{', '.join(map(str, now))} ({', '.join(map(str, peak))})"
    )


def yardstick() -> float:
    """How many milliseconds a fixed computation takes now: how fast the machine is just then.

    A machine that shares its host with others is faster at one moment than at the next, and with
    it every figure; who compares two of them should know by how much.
    """
    began = time.perf_counter()
    sum(number * number for number in range(300_000))
    return (time.perf_counter() - began) * 1000


def cpu(bench: Bench) -> dict[str, float]:
    """How long each part has computed so far."""
    stack = bench.stack
    postgres = stack.pid_of("postgres")
    return {
        "service": sum(map(cpu_seconds, stack.workers())),
        "PostgreSQL": sum(map(cpu_seconds, [postgres, *descendants(postgres)])),
        "Vault": cpu_seconds(stack.pid_of("vault")),
        "worker": cpu_seconds(stack.pid_of("worker")),
    }
