"""What the tracked files may not say: whose machine, which registry, what is left to do."""

from __future__ import annotations

import re
from typing import Final

from tests.support.sources import ROOT, tracked

# Written in pieces, so that this file does not find itself.
REGISTRIES: Final = re.compile(
    "|".join(
        re.escape(start + end)
        for start, end in (
            ("pypi", ".org"),
            ("python", "hosted.org"),
            ("registry.npm", "js.org"),
            ("proxy.golang", ".org"),
            ("index.crates", ".io"),
        )
    )
)
MACHINES: Final = re.compile(r"(?<![\w.])/(?:root|work|home/[a-z]+)/")
UNFINISHED: Final = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
VECTORS: Final = ROOT / "tests" / "vectors"
LOCKS: Final = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt")


def texts() -> list[tuple[str, str]]:
    """Name and text of every tracked text file but the vectors, which others wrote."""
    found = []
    for path in tracked():
        if path.is_relative_to(VECTORS):
            continue
        try:
            found.append((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_no_file_names_a_registry() -> None:
    """Where packages come from is the installer's setting, not ours."""
    assert [name for name, text in texts() if REGISTRIES.search(text)] == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    """What works here works elsewhere."""
    assert [name for name, text in texts() if MACHINES.search(text)] == []


def test_nothing_is_marked_as_left_to_do() -> None:
    """A mark in the code is forgotten; what is left stands in the issue tracker."""
    assert [name for name, text in texts() if UNFINISHED.search(text)] == []


def test_lock_files_hold_no_installer_options() -> None:
    """Only pins, hashes and notes: no index, no links, no trusted hosts."""
    for lock in LOCKS:
        for line in lock.read_text(encoding="utf-8").splitlines():
            assert re.match(r"[a-z0-9]|    (?:--hash=sha256:|# )|$", line), line
