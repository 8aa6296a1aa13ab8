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
from tests.support.mutants import Mutant, mutate, places
from tests.support.sources import ROOT
from vault_service.domain import instruments, policy

pytestmark = pytest.mark.unmeasured

TESTS = ("tests/domain/test_policy.py",)
ENGINE = (policy, instruments)
SOURCES = {each.__name__: Path(str(each.__file__)).read_text(encoding="utf-8") for each in ENGINE}


def survives(module: str, mutant: Mutant) -> bool:
    """Whether the tests are green with the mutant in the engine's place."""
    with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as file:
        file.write(mutant.source)
        file.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-B", "-m", "pytest", "-q", "-x", *TESTS),
                *("-p", "no:cacheprovider", "-p", "tests.support.mutant_plugin"),
            ],
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if name != "CI"},
                "PYTHONPATH": str(ROOT),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they would take half of the time
                "MUTANT": module,
                "MUTANT_FILE": file.name,
            },
            capture_output=True,
            check=False,
            timeout=600,  # the machine may be busy
        )
    # Anything but passed or failed tests would be a mistake of this test.
    assert done.returncode in (0, 1, 2), done.stdout.decode()
    return done.returncode == 0


def test_the_engine_itself_passes() -> None:
    """Unchanged, by the same way, the tests are green; otherwise nothing would be shown."""
    for module, source in SOURCES.items():
        assert survives(module, Mutant(0, "nothing", source))


def test_no_mutant_survives() -> None:
    """Some mutants in the suite, drawn by a seed; all of them in a campaign."""
    every = [(module, n) for module, source in SOURCES.items() for n in range(places(source))]
    assert len(every) > 150
    drawn = random.Random(campaign.seed(1)).sample(every, min(campaign.rounds(4), len(every)))  # noqa: S311
    some = [(module, mutate(SOURCES[module], place)) for module, place in drawn]
    with ThreadPoolExecutor(2) as threads:
        lives = list(threads.map(lambda pair: survives(*pair), some))
    alive = [pair for pair, alive in zip(some, lives, strict=True) if alive]
    campaign.report(mutants=len(some), survivors=len(alive))
    assert [
        (module, one.line, one.what, SOURCES[module].splitlines()[one.line - 1].strip())
        for module, one in alive
    ] == []
