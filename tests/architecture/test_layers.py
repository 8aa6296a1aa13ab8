"""Who may import whom, beyond what the lint of the whole house says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sources import ROOT, modules


def test_layers_hold() -> None:
    """Every contract of pyproject.toml is kept, and every module has its layer."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def imported(tree: ast.Module) -> set[str]:
    """Full names of all modules that ``tree`` imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("package", ["vault_service/ledger"])
def test_ledger_runs_on_the_standard_library(package: str) -> None:
    """An auditor reads the log's code without reading anybody else's."""
    for path, tree in modules(package):
        foreign = {
            name
            for name in imported(tree)
            if name.partition(".")[0] not in sys.stdlib_module_names
            and not name.startswith("vault_service.ledger")
        }
        assert not foreign, f"{path} imports {sorted(foreign)}"


def test_launcher_runs_on_the_standard_library() -> None:
    """The launcher is executed without the project's packages on its path."""
    tree = ast.parse((ROOT / "vault_service/embedded/launch.py").read_bytes())
    assert {name.partition(".")[0] for name in imported(tree)} <= sys.stdlib_module_names


def test_tests_use_no_mock() -> None:
    """Real parts are tested; a mock of them would only repeat what we believe."""
    for path, tree in modules("tests"):
        assert not {name for name in imported(tree) if "mock" in name.lower()}, path
