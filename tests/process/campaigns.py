"""Runs a test for longer than the suite would, and prints what it measured.

Each run is one pytest process with a seed and a number of rounds in its environment; it may report
figures (`campaign.report`). What failed is kept, with its seed and its whole output, until a run
with that seed is green again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.process import campaign
from tests.support.sources import ROOT

KEPT: Final = ROOT / "build" / "campaigns"
_HERE: Final = "tests/process"
_DECISIONS: Final = "tests/services/test_decision_races.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A test that can run for longer.

    Attributes:
        tests: arguments for pytest that select it.
        rounds: how many, unless asked otherwise; None where the test itself decides.
        unit: what a round is.
        about: what is shown.
    """

    tests: tuple[str, ...]
    rounds: int | None
    unit: str
    about: str


CAMPAIGNS: Final = {
    "kill-serve": Campaign(
        tests=(f"{_HERE}/test_kill_serve.py::test_f1_serve_is_killed_under_load",),
        rounds=20,
        unit="kills",
        about="kill -9 of the service under load: nothing acknowledged lost, nothing spent twice",
    ),
    "kill-intake": Campaign(
        tests=(f"{_HERE}/test_kill_intake.py::test_the_intake_is_killed",),
        rounds=50,
        unit="kills",
        about="kill -9 of the mail intake: what was answered 250 is here, once",
    ),
    "kill-postgres": Campaign(
        tests=(f"{_HERE}/test_kill_serve.py::test_f1_postgres_is_killed_under_load",),
        rounds=20,
        unit="kills",
        about="kill -9 of PostgreSQL under load: the same, and the service comes back by itself",
    ),
    "rotation": Campaign(
        tests=(f"{_HERE}/test_kill_rotation.py",),
        rounds=1_000_000,
        unit="wrapped keys",
        about="a key is rotated, its workers killed -9 under traffic: no request fails, none left",
    ),
    "reindex": Campaign(
        tests=(f"{_HERE}/test_reindex_race.py",),
        rounds=100_000,
        unit="values",
        about="a class is indexed anew under racing writers, killed twice: none is lost or doubled",
    ),
    "tampering": Campaign(
        tests=("tests/ledger/test_tampering.py::test_e2_random_tamperings_are_found",),
        rounds=1_000,
        unit="tamperings",
        about="E2: a superuser changes the log behind a kept checkpoint: the verifier finds it",
    ),
    "kill-sequencer": Campaign(
        tests=(
            "tests/ledger/test_kill_sequencer.py::test_e3_killed_sequencers_leave_no_gap_duplicate_or_fork",
        ),
        rounds=100,
        unit="kills",
        about="E3: kill -9 of sequencers under load: no gap, no duplicate, no fork, no long wait",
    ),
    "ledger-scale": Campaign(
        tests=("tests/ledger/test_scale.py",),
        rounds=1_000_000,
        unit="entries",
        about="E1, E4: verification, proofs and appending keep their times; the log's size on disk",
    ),
    "leaves": Campaign(
        tests=("tests/acceptance/test_e5_e6_log.py::test_e6_no_leaf_holds_a_value_of_the_sample",),
        rounds=100_000,
        unit="leaves",
        about="E6: no value of the sample stands in any leaf",
    ),
    "double-spend": Campaign(
        tests=(f"{_HERE}/test_d1_double_spend.py",),
        rounds=1_000,
        unit="disclosure tokens",
        about="D1: 16 callers show each token at once to two services: one plaintext each",
    ),
    "revoke-race": Campaign(
        tests=(f"{_DECISIONS}::test_no_reveal_is_committed_after_the_revocation",),
        rounds=1_000,
        unit="races",
        about="D5: a revocation among four reveals in two processes: none is committed after it",
    ),
    "officers-race": Campaign(
        tests=(f"{_DECISIONS}::test_two_officers_approve_and_never_the_requester",),
        rounds=1_000,
        unit="requests",
        about="officers and requester approve one request at once: two approvers, never himself",
    ),
    "canaries": Campaign(
        tests=(f"{_HERE}/test_a1_a2_canaries.py",),
        rounds=10_000,
        unit="card numbers and as many codes",
        about="A1, A2: after a full run no canary stands in any file, row, log or answer",
    ),
    "any-input": Campaign(
        tests=(f"{_HERE}/test_f7_conformance.py",),
        rounds=60,
        unit="examples for each call, person and manner",
        about="F7: requests made from the OpenAPI document: no 5xx, answers as documented",
    ),
    "overload": Campaign(
        tests=(f"{_HERE}/test_overload.py",),
        rounds=600,
        unit="seconds",
        about="8 times as many callers as places: 201 or 503 and nothing else; no memory is lost",
    ),
    "policy-mutants": Campaign(
        tests=("tests/domain/test_policy_mutants.py",),
        rounds=1_000,
        unit="mutants at most",
        about="every small change of the policy engine that alters a decision fails a test",
    ),
    "activity": Campaign(
        tests=("tests/services/test_activity_scale.py",),
        rounds=10_000_000,
        unit="entries",
        about="the activity log at size: loading, a customer's month within 30 ms, ending a month",
    ),
    "marked": Campaign(
        tests=("-m", "campaign", "tests"),
        rounds=None,
        unit="",
        about="every test that is marked as a campaign",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one run ended."""

    seed: int
    passed: bool
    seconds: float
    figures: list[dict[str, Any]]


def once(name: str, *, seed: int, rounds: int | None) -> Run:
    """Run a campaign with one seed; keep its output if it fails."""
    asked = CAMPAIGNS[name]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        environment = {**os.environ, campaign.SEED: str(seed), campaign.REPORT: str(report)}
        if rounds is not None:
            environment[campaign.ROUNDS] = str(rounds)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *asked.tests],
            cwd=ROOT,
            env=environment,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    passed = done.returncode == 0
    KEPT.mkdir(parents=True, exist_ok=True)
    log = KEPT / f"{name}-{seed}.log"
    if passed:
        log.unlink(missing_ok=True)
    else:
        log.write_bytes(done.stdout)
    return Run(
        seed=seed,
        passed=passed,
        seconds=time.monotonic() - began,
        figures=[json.loads(line) for line in lines],
    )


def failing(name: str) -> list[int]:
    """The seeds that are kept because they failed."""
    return sorted(int(log.stem.rpartition("-")[2]) for log in KEPT.glob(f"{name}-*.log"))


def table_of(runs: Sequence[Run]) -> Table:
    """What was measured, a line for each report."""
    names = list(dict.fromkeys(key for run in runs for line in run.figures for key in line))
    table = Table("seed", *names, "result")
    for run in runs:
        result = "passed" if run.passed else "FAILED"
        for line in run.figures:
            table.add_row(str(run.seed), *(str(line.get(key, "")) for key in names), "")
        ended = ("",) * (len(names) - 1) + (f"{run.seconds:.0f} s",) if names else ()
        table.add_row(str(run.seed), *ended, result, end_section=True)
    return table


def chosen(arguments: argparse.Namespace) -> list[int]:
    """The seeds to begin with."""
    kept = failing(arguments.name) if arguments.again else []
    return kept or [arguments.seed]


def main() -> int:
    """Run what the command line asks for; 0 when all runs passed."""
    console = Console()
    parser = argparse.ArgumentParser(prog="scripts/campaign", description=__doc__)
    parser.add_argument("name", nargs="?", choices=CAMPAIGNS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--minutes", type=float, default=0, help="go on with the next seeds")
    parser.add_argument("--again", action="store_true", help="the seeds that failed before")
    arguments = parser.parse_args()
    if arguments.name is None:
        known = Table("name", "rounds", "what it shows")
        for name, each in CAMPAIGNS.items():
            known.add_row(name, f"{each.rounds or ''} {each.unit}".strip(), each.about)
        console.print(known)
        return 0
    rounds = arguments.rounds or CAMPAIGNS[arguments.name].rounds
    until = time.monotonic() + arguments.minutes * 60
    seeds = chosen(arguments)
    runs: list[Run] = []
    while seeds:
        seed = seeds.pop(0)
        console.print(f"{arguments.name}: seed {seed}, {rounds or 'its own'} rounds")
        runs.append(once(arguments.name, seed=seed, rounds=rounds))
        if not seeds and time.monotonic() < until:
            seeds = [seed + 1]
    console.print(table_of(runs))
    kept = failing(arguments.name)
    if kept:
        console.print(f"failing seeds, with their logs in {KEPT.relative_to(ROOT)}: {kept}")
    return 0 if all(run.passed for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
