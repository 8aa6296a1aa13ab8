"""The log for people: one readable line per event, whatever stands in the files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vault_service.cli import log_view
from vault_service.cli.log_view import LogView, readable

LINE = (
    '{"timestamp":"2026-11-23T05:41:02.049Z","level":"info","event":"request","process":"serve",'
    '"status":201,"route":"/v1/tokens","reason":"two words","tokens":["a"]}'
)


def until(holds: Callable[[], bool]) -> None:
    """Wait until ``holds``."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_event_becomes_one_line() -> None:
    """Time, level, process and event stand first; texts with spaces are quoted."""
    assert readable(LINE) == (
        "05:41:02 info    serve request  "
        'status=201 route=/v1/tokens reason="two words" tokens=["a"]'
    )


@pytest.mark.parametrize("line", ["Killed", "", "[1]", '"text"', '{"half'])
def test_what_is_no_event_is_shown_as_it_stands(line: str) -> None:
    """An interpreter's last words are worth reading too."""
    assert readable(line) == line


def test_only_new_and_whole_lines_are_shown(tmp_path: Path) -> None:
    """A line under way waits for its end; what was there before stays unsaid."""
    log = tmp_path / "log"
    log.write_text("old\n")
    shown: list[str] = []
    view = LogView({"it": log}, show=shown.append)
    view.start()
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        until(lambda: shown == ["one"])
        file.write("o\n")
    view.close()
    assert shown == ["one", "two"]


def test_a_terminal_that_went_away_stops_nothing(tmp_path: Path) -> None:
    """The view goes on when nobody can see it."""

    def show(_line: str) -> None:
        nonlocal tries
        tries += 1
        raise BrokenPipeError

    tries = 0
    view = LogView({"it": tmp_path / "log"}, show=show)
    view.start()
    (tmp_path / "log").write_text("one\ntwo\n")
    view.close()
    assert tries == 2


def test_a_large_log_is_cut_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer appends at the new end, and its lines are shown."""
    monkeypatch.setattr(log_view, "_CUT_BYTES", 100)
    log = tmp_path / "log"
    shown: list[str] = []
    view = LogView({"it": log}, show=shown.append)
    view.start()
    with log.open("ab", buffering=0) as file:
        file.write(b"x" * 200 + b"\n")
        until(lambda: log.stat().st_size == 0)
        file.write(b"after\n")
    view.close()
    assert shown[-1] == "after"
