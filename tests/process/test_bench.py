"""`scripts/bench` runs: every kind of case for a moment, and what it says can be read."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench import results
from bench.people import luhn, numbers
from bench.results import Result, Row
from tests.support.sources import ROOT

pytestmark = pytest.mark.unmeasured


def test_every_kind_of_case_runs_without_an_error(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Half a second each, on servers of its own: values read back, no answer but a good one."""
    # Go's standard library takes half a minute to build; the next run finds it built.
    cache = pytestconfig.cache.mkdir("go-build") if pytestconfig.cache else tmp_path / "cache"
    done = subprocess.run(
        [*(sys.executable, "-m", "bench", "--smoke", "--no-peers", "--results", str(tmp_path))],
        cwd=ROOT,
        env={**os.environ, "GOCACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (file,) = tmp_path.glob("*.json")
    found = results.load(file)
    assert found.errors == 0
    told = {row.case for row in found.rows}
    assert {
        "tokenize, single", "tokenize, 1,000 per call", "masked read, single",
        "search by value, single", "disclosure token, single", "reveal, single",
        "reveal, 1,000 per call", "import of 200 CSV lines", "ledger, append a backlog",
        "ledger, verify the export", "growth of p50: masked read, single",
    } == told  # fmt: skip
    grown = [row for row in found.rows if row.case.startswith("growth")]
    assert all(row.ratio is not None and 0 < row.ratio < 10 for row in grown)
    assert all(row.per_second > 0 for row in found.rows if row not in grown)
    assert found.facts["tokenized values that were read back and compared"] >= 1000
    assert (file.with_suffix(".svg")).read_text().startswith("<svg ")
    assert results.markdown(found).count("| tokenize, single |") == 1


def _result(per_second: float, floor: float | None = 100.0) -> Result:
    row = Row(case="c", per_second=per_second, p50=2.0, floor=floor, target=0.5, limit_ms=3.0)
    return Result(options={}, rows=[row])


def test_a_target_is_met_or_not() -> None:
    """By the ratio to the floor, by the longest p50, by growth."""
    assert _result(60).rows[0].met is True
    assert _result(40).rows[0].met is False
    assert _result(60, None).rows[0].met is False
    assert Row(case="c", ratio=1.3, at_most=1.2).met is False
    assert Row(case="c", p50=4.0, limit_ms=3.0).met is False
    assert Row(case="c", per_second=1.0).met is None


def test_a_run_is_compared_with_an_earlier_one(tmp_path: Path) -> None:
    """By ratios, which another machine leaves as they are; what became worse is counted."""
    console = Console(file=io.StringIO())
    old = results.load(_result(60).save(tmp_path))
    assert results.compare(old, _result(58), console) == 0
    assert results.compare(old, _result(40), console) == 1
    other = _result(80)
    other.rows[0] = Row(case="another", per_second=1.0)
    assert results.compare(old, other, console) == 0


def test_only_its_own_results_are_read(tmp_path: Path) -> None:
    """Another format is told, not guessed at."""
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"format": 0}))
    with pytest.raises(ValueError, match="not a result"):
        results.load(file)


def test_the_made_up_numbers_pass_and_do_not_repeat() -> None:
    """The check digit is right; 10,000 of one seed are different."""
    assert luhn("424242424242424") == "4242424242424242"
    made = numbers(7)
    assert len({next(made) for _ in range(10_000)}) == 10_000
