"""The guard of the whole suite: what must run and did not run is not green."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sources import ROOT


def run(folder: Path, body: str, *options: str, ci: str | None = None) -> tuple[int, str]:
    """Run one test with the suite's conftest; returns exit status and output."""
    (folder / "test_it.py").write_text(body, encoding="utf-8")
    environment = {name: text for name, text in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "tests.conftest",
                "-p",
                "no:cacheprovider",
            ),
            *("--rootdir", folder, "-c", "/dev/null", *options, folder / "test_it.py"),
        ],
        cwd=ROOT,
        env=environment | ({} if ci is None else {"CI": ci}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


SKIPPED = "import pytest\ndef test_it():\n    pytest.skip('no reason')\n"
PASSED = "def test_it():\n    pass\n"


@pytest.mark.parametrize(("options", "ci"), [((), "true"), (("--strict-skips", "-n", "1"), None)])
def test_a_skipped_test_fails_a_strict_run(
    tmp_path: Path, options: tuple[str, ...], ci: str | None
) -> None:
    """In CI and on request a skip is named and fails the run, in one process or in several."""
    status, output = run(tmp_path, SKIPPED, *options, ci=ci)
    assert status == 1
    assert "test_it: Skipped: no reason" in output


def test_a_skip_is_tolerated_elsewhere(tmp_path: Path) -> None:
    """Somebody at work on one thing may leave another out."""
    assert run(tmp_path, SKIPPED)[0] == 0


def test_a_strict_run_without_skips_is_green(tmp_path: Path) -> None:
    """Strictness alone fails nothing."""
    assert run(tmp_path, PASSED, ci="true")[0] == 0


def test_half_an_address_is_refused(tmp_path: Path) -> None:
    """A Vault of one's own needs its token."""
    status, output = run(tmp_path, PASSED, "--vault-addr", "http://127.0.0.1:1")
    assert status == 4
    assert "go together" in output
