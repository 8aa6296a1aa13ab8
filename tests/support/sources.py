"""The project's own files, for tests about how the house is built."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGES: Final = ("keys", "vault_service", "migrations")


def tracked() -> list[Path]:
    """Every file under version control, and every new one that is not ignored."""
    done = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [path for name in sorted(set(names)) if (path := ROOT / name).is_file()]


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Path relative to the root, and syntax tree, of each module of ``packages``."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_bytes())
