"""The tests of the policy engine find every small change that alters what it decides."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process import campaign
from tests.support.mutants import Mutant, mutants
from tests.support.sources import ROOT
from vault_service.domain import policy

pytestmark = pytest.mark.unmeasured

TESTS = ("tests/domain/test_policy.py",)
SOURCE = Path(policy.__file__).read_text(encoding="utf-8")
LINES = SOURCE.splitlines()


def survives(mutant: Mutant) -> bool:
    """Whether the tests are green with the mutant in the engine's place."""
    with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as file:
        file.write(mutant.source)
        file.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-B", "-m", "pytest", "-q", "-x", *TESTS),
                *("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist"),
                *("-p", "tests.support.mutant_plugin"),
            ],
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if name != "CI"},
                "PYTHONPATH": str(ROOT),
                "MUTANT": policy.__name__,
                "MUTANT_FILE": file.name,
            },
            capture_output=True,
            check=False,
            timeout=120,
        )
    # Anything but passed or failed tests would be a mistake of this test.
    assert done.returncode in (0, 1, 2), done.stdout.decode()
    return done.returncode == 0


def test_the_engine_itself_passes() -> None:
    """Unchanged, by the same way, the tests are green; otherwise nothing would be shown."""
    assert survives(Mutant(0, "nothing", SOURCE))


def test_no_mutant_survives() -> None:
    """Some mutants in the suite, drawn by a seed; all of them in a campaign."""
    made = list(mutants(SOURCE))
    assert len(made) > 120
    some = random.Random(campaign.seed(1)).sample(made, min(campaign.rounds(4), len(made)))  # noqa: S311
    with ThreadPoolExecutor(2) as threads:
        alive = [one for one, lives in zip(some, threads.map(survives, some), strict=True) if lives]
    campaign.report(mutants=len(some), survivors=len(alive))
    assert [(one.line, one.what, LINES[one.line - 1].strip()) for one in alive] == []
